"""Files with secrets that COPY and ADD bring in: by name, by content, in folders, with the whole context."""

from __future__ import annotations

from typing import ClassVar

import pytest

from auditor.dockerfile.build_context import open_context
from auditor.rulebook.examples import fill
from tests.dockerfile.conftest import PRIVATE_KEY, Check, env_file, write

NPMRC = fill("//npm.example.com/:_authToken={base62:36}\n", 3)


@pytest.mark.parametrize(
    "source",
    [
        "id_rsa",
        "keys/id_ed25519",
        ".env",
        ".env.production",
        ".npmrc",
        ".pypirc",
        ".netrc",
        ".aws/credentials",
        ".docker/config.json",
        "kubeconfig",
        "cert.p12",
        "cert.pfx",
        "store.jks",
        ".git-credentials",
        "terraform.tfstate",
        "server.key",
        "private-key.pem",
        "credentials.json",
        ".ssh",
        ".pgpass",
        ".vault-token",
    ],
)
@pytest.mark.parametrize(
    "form", ["COPY {} /app/", "ADD {} /app/", 'COPY ["{}", "/app/"]', "COPY --chown=1:1 a {} /app/"]
)
def test_a_file_that_is_not_there_is_judged_by_its_name(check: Check, source: str, form: str) -> None:
    found = check("FROM debian\n" + form.format(source) + "\n")
    assert [(p.line, p.rule, p.severity) for p in found] == [(2, "secret-file-copied", "high")]
    assert source in found[0].message


@pytest.mark.parametrize(
    "source",
    [
        ".env.example",
        ".env.sample",
        "env.template",
        "id_rsa.pub",
        "cert.pem",
        "ca.crt",
        "package.json",
        "config.json",
        "https://example.org/.env",
        "environment.yml",
        "src/credentials_test.go",
        "keys.md",
        "token.go",
        ".dockerignore",
    ],
)
def test_a_harmless_name_is_none(check: Check, source: str) -> None:
    assert check(f"FROM debian\nCOPY {source} /app/\n") == ()


@pytest.mark.parametrize(
    ("name", "content", "severity"),
    [
        ("key.pem", PRIVATE_KEY, "high"),
        ("cert.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n", None),
        ("id_rsa", PRIVATE_KEY, "high"),
        ("id_rsa", "not a key\n", "low"),
        (".env", env_file(), "critical"),
        (".env", "DB_PASSWORD=hunter2secret\n", "high"),
        (".env", "PORT=8080\nDEBUG=false\n", "low"),
        (".env", "", None),
        (".env", "DB_PASSWORD=postgres\n", "high"),
        ("secret.txt", "as I said\n", "low"),
        (".npmrc", NPMRC, "high"),
        (".npmrc", "//npm.example.com/:_authToken=${NPM_TOKEN}\n", None),
        (".npmrc", "engine-strict=true\n", None),
        (".docker/config.json", '{"credsStore": "pass"}', None),
        ("pip.conf", "[global]\nindex-url = https://pypi.example.com/simple\n", None),
    ],
)
def test_a_file_that_is_there_is_judged_by_its_content(
    check: Check, name: str, content: str, severity: str | None
) -> None:
    found = check(f"FROM debian\nCOPY {name} /app/{name}\n", {name: content})
    if severity == "high":
        assert [p.rule for p in found] == ["secret-file-copied"] and found[0].severity in ("high", "critical")
    else:
        assert [p.severity for p in found] == ([severity] if severity else [])


def test_a_folder_names_the_files_in_it(check: Check) -> None:
    files = {"conf/app.ini": "x=1\n", "conf/deep/.env": env_file(), "conf/tls/server.key": PRIVATE_KEY}
    (found,) = check("FROM debian\nWORKDIR /app\nCOPY conf conf\n", files)
    assert (found.line, found.rule) == (3, "secret-file-copied")
    assert "conf/deep/.env" in found.message and "conf/tls/server.key (private key)" in found.message


def test_a_glob_and_a_variable_choose_files(check: Check) -> None:
    files = {"a/.env": env_file(), "b/x": ""}
    assert check.rules("FROM debian\nCOPY ?/.env /app/\n", files) == [(2, "secret-file-copied")]
    assert check.rules("FROM debian\nARG D=a\nCOPY $D /app/\n") == [(3, "secret-file-copied")]
    assert check.rules("FROM debian\nARG D=b\nCOPY ${D} /app/\n") == []


def test_what_is_copied_from_another_stage_or_image_is_not_of_the_context(check: Check) -> None:
    assert check("FROM debian\nCOPY --from=alpine /etc /x\nCOPY --from=alpine . /y\n", {".env": env_file()}) == ()


class TestWholeContext:
    TEXT = "FROM debian\nWORKDIR /app\nCOPY . .\n"

    @pytest.mark.parametrize("form", ["COPY . .", "ADD ./ /app", "COPY / /app", 'COPY [".", "/app"]', "COPY * /app/"])
    def test_secret_files_and_the_repository_are_one_finding(self, check: Check, form: str) -> None:
        files = {".env": env_file(), "deploy/id_rsa": PRIVATE_KEY, ".git/HEAD": "ref: x\n"}
        (found,) = check(f"FROM debian\n{form}\n", files)
        assert (found.line, found.rule) == (2, "copy-context")
        assert all(name in found.message for name in (".env", "deploy/id_rsa", ".git with the whole history"))
        assert ".dockerignore" in found.advice

    def test_the_repository_alone_is_medium(self, check: Check) -> None:
        (found,) = check(self.TEXT, {".git/HEAD": "ref: x\n"})
        assert found.severity == "medium"

    def test_a_clean_context_is_fine(self, check: Check) -> None:
        assert (
            check(self.TEXT, {"main.py": "", ".env.example": "A=\n", "tls/ca.pem": "-----BEGIN CERTIFICATE-----\n"})
            == ()
        )

    def test_what_dockerignore_excludes_is_fine(self, check: Check) -> None:
        files = {
            ".env": env_file(),
            "a/b/id_rsa": PRIVATE_KEY,
            ".git/HEAD": "x",
            ".dockerignore": ".git\n.env\n**/id_*\n",
        }
        assert check(self.TEXT, files) == ()

    def test_what_an_exclamation_mark_brings_back_is_not(self, check: Check) -> None:
        files = {"conf/.env": env_file(), "conf/x": "", ".dockerignore": "conf\n!conf/.env\n"}
        assert check.rules(self.TEXT, files) == [(3, "copy-context")]

    def test_the_dockerfile_s_own_ignore_file_wins(self, check: Check) -> None:
        files = {".env": env_file(), ".dockerignore": ".env\n", "Dockerfile.dockerignore": "nothing\n"}
        assert check.rules(self.TEXT, files) == [(3, "copy-context")]

    def test_the_flag_exclude_leaves_files_out(self, check: Check) -> None:
        assert check("FROM debian\nCOPY --exclude=.env . /app\n", {".env": env_file()}) == ()

    def test_packages_of_others_are_not_read(self, check: Check) -> None:
        assert check(self.TEXT, {"node_modules/x/test/id_rsa": PRIVATE_KEY}) == ()

    def test_links_are_not_followed(self, check: Check) -> None:
        write(check.folder, {"outside/id_rsa": PRIVATE_KEY, "context/Dockerfile": self.TEXT})
        (check.folder / "context" / "link").symlink_to(check.folder / "outside")
        (check.folder / "context" / ".env").symlink_to(check.folder / "outside" / "id_rsa")
        context = open_context(check.folder / "context" / "Dockerfile", None)
        assert [entry.path for entry in context.entries] == ["Dockerfile"]


class TestDiscardedStages:
    def test_a_secret_file_that_stays_there_is_less_severe(self, check: Check) -> None:
        text = "FROM debian AS build\nCOPY id_rsa /root/.ssh/\nFROM scratch\nCOPY --from=build /out /\n"
        (found,) = check(text)
        assert found.severity == "medium" and "build cache" in found.message

    def test_one_that_a_later_stage_copies_is_in_the_image(self, check: Check) -> None:
        text = "FROM debian AS build\nCOPY .env /app/\nFROM scratch\nCOPY --from=build /app /srv\n"
        (found,) = check(text)
        assert found.severity == "high" and "line 4 copies /app from this stage" in found.message

    def test_over_two_stages(self, check: Check) -> None:
        first = "FROM a AS one\nCOPY .env /app/.env\nFROM b AS two\nCOPY --from=one /app /mid/\n"
        text = first + "FROM c\nCOPY --from=two /mid/.env /\n"
        (found,) = check(text)
        assert found.severity == "high"
        other = check(text.replace("/mid/.env", "/mid/other"))
        assert [p.severity for p in other] == ["medium"]


class TestOneFileByNameOrWithItsContext:
    """The way a file is copied does not change its severity."""

    FILES: ClassVar = {
        ".env": env_file(),
        "weak.env": "DB_PASSWORD=postgres\n",
        ".netrc": "",
        "keys/id_rsa": PRIVATE_KEY,
        "secrets.yaml": "a: b\n",
        ".git/HEAD": "ref: x\n",
    }

    @pytest.mark.parametrize("path", FILES)
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("FROM debian\n", ""),
            ("FROM debian AS build\n", "FROM scratch\nCOPY --from=build /out /\n"),
            ("FROM debian AS build\n", "FROM scratch\nCOPY --from=build /app /srv\n"),
            ("FROM debian AS build\n", "FROM scratch\nCOPY --from=build /app/{path} /srv/\n"),
        ],
        ids=["in the image", "discarded", "copied with its folder", "copied by name"],
    )
    def test_it_has_the_same_severity(self, check: Check, path: str, before: str, after: str) -> None:
        source = path.removesuffix("/HEAD")
        after = after.format(path=source)
        files = {path: self.FILES[path]}
        named, whole = (
            [(p.severity, p.copied_to_image) for p in check(f"{before}{copy}\n{after}", files)]
            for copy in (f"COPY {source} /app/{source}", "COPY . /app/")
        )
        assert named == whole
