"""`image-audit dockerfile`: each rule at its line, formats, exit codes, what a user reads when something is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from auditor.dockerfile.problems import DockerfileRule
from tests.conftest import Cli
from tests.dockerfile.conftest import PRIVATE_KEY, env_file, write
from tests.images import token

SARIF = Path(__file__).parents[1] / "report" / "schemas" / "sarif-2.1.0.json"
BAD = """\
# syntax=docker/dockerfile:1
FROM python:3.13
ARG PIP_TOKEN
ENV DB_PASSWORD=hunter2secret
WORKDIR /app
COPY . .
COPY keys/id_rsa /root/.ssh/id_rsa
RUN echo {token} > /secret.txt && \\
    chmod 600 /secret.txt
RUN pip install --extra-index-url https://ci:$PIP_TOKEN@pypi.example.com/simple -r requirements.txt
RUN curl -fsSLO https://files.example.com/model.tar.gz
RUN tar xf model.tar.gz && rm model.tar.gz
RUN rm /secret.txt
"""
FOUND = [
    (3, "secret-in-arg"), (4, "secret-in-env"), (6, "copy-context"), (6, "cache-order"), (7, "secret-file-copied"),
    (8, "secret-in-run"), (10, "credentials-in-url"), (12, "large-then-deleted"), (13, "deleted-later"),
]  # fmt: skip
GOOD = """\
# syntax=docker/dockerfile:1
FROM python:3.13 AS build
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=secret,id=netrc,target=/root/.netrc \\
    --mount=type=cache,target=/root/.cache/pip \\
    pip install --extra-index-url https://pypi.example.com/simple --target /packages -r requirements.txt
RUN --mount=type=ssh git clone git@git.example.com:team/model.git /model && rm -rf /model/.git
COPY . .
RUN make
FROM python:3.13-slim
ENV DB_PASSWORD_FILE=/run/secrets/db PYTHONPATH=/packages
RUN curl -fsSLO https://files.example.com/model.tar.gz && tar xf model.tar.gz && rm model.tar.gz
COPY --from=build /packages /packages
COPY --from=build /app/dist /app
CMD ["python", "-m", "app"]
"""
FILES = {
    ".env": env_file(),
    "keys/id_rsa": PRIVATE_KEY,
    ".git/HEAD": "ref: x\n",
    "requirements.txt": "x\n",
    "main.py": "",
}


@pytest.fixture
def bad(cli: Cli) -> Path:
    write(cli.folder, {"Dockerfile": BAD.replace("{token}", token(1)), **FILES})
    return cli.folder / "Dockerfile"


def test_every_rule_stands_at_its_line(cli: Cli, bad: Path) -> None:
    done = cli("dockerfile", "Dockerfile", "--format", "json")
    assert done.status == 1 and done.err == ""
    assert {rule for _, rule in FOUND} == set(DockerfileRule)
    assert sorted((f["line"], f["rule"]) for f in done.json["findings"]) == sorted(FOUND)


def test_the_well_written_one_beside_it_has_none(cli: Cli) -> None:
    write(cli.folder, {"Dockerfile": GOOD, ".dockerignore": ".env\n.git\nkeys\n", **FILES})
    done = cli("dockerfile", "Dockerfile")
    assert (done.status, done.out) == (0, "No problems found in Dockerfile.\n")


def test_the_json_report_is_that_of_the_contract(cli: Cli, bad: Path) -> None:
    report = cli("dockerfile", "Dockerfile", "--format", "json").json
    assert report["schema"] == "image-audit-dockerfile/1"
    for finding in report["findings"]:
        assert list(finding) == ["rule", "line", "severity", "message", "advice"]
        assert finding["severity"] in ("critical", "high", "medium", "low")
        assert finding["message"] and finding["advice"].endswith(".")


def test_sarif_is_valid_and_holds_the_same(cli: Cli, bad: Path) -> None:
    done = cli("dockerfile", "Dockerfile", "--format", "sarif")
    jsonschema.validate(done.json, json.loads(SARIF.read_text()))
    (run,) = done.json["runs"]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    got = [
        (place["region"]["startLine"], result["ruleId"]) for place, result in zip(places, run["results"], strict=True)
    ]
    assert sorted(got) == sorted(FOUND) and {place["artifactLocation"]["uri"] for place in places} == {"Dockerfile"}
    assert [run["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] for r in run["results"]] == [rule for _, rule in got]


def test_a_fingerprint_survives_a_new_line_above(cli: Cli, bad: Path) -> None:
    def prints() -> list[str]:
        (run,) = cli("dockerfile", "Dockerfile", "--format", "sarif").json["runs"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]

    before = prints()
    bad.write_text("# a new line\n" + bad.read_text())
    assert prints() == before and len(set(before)) == len(FOUND)


def test_the_table_fits_80_columns_and_ends_with_a_summary(cli: Cli, bad: Path) -> None:
    done = cli("dockerfile", "Dockerfile")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "Dockerfile:13  HIGH  deleted-later\n" in done.out
    *_, summary, fixes = done.out.splitlines()
    assert summary.startswith("9 problems found in Dockerfile (")
    assert fixes == "For a diff that removes what it can: image-audit dockerfile Dockerfile --fix"


def test_no_format_shows_a_secret_whole(cli: Cli, bad: Path) -> None:
    for form in ("table", "json", "sarif"):
        out = cli("dockerfile", "Dockerfile", "--format", form).out
        assert token(1) not in out and "hunter2secret" not in out


def test_reports_are_written_by_their_ending(cli: Cli, bad: Path) -> None:
    done = cli("dockerfile", "Dockerfile", "-q", "-o", "a.json", "-o", "a.sarif", "-o", "a.txt")
    assert (done.status, done.out) == (1, "")
    assert json.loads((cli.folder / "a.json").read_text())["schema"] == "image-audit-dockerfile/1"
    assert json.loads((cli.folder / "a.sarif").read_text())["version"] == "2.1.0"
    assert "problems found" in (cli.folder / "a.txt").read_text()
    assert "unknown file ending" in cli("dockerfile", "Dockerfile", "-o", "a.html").err


def test_fail_on_sets_what_fails(cli: Cli) -> None:
    write(cli.folder, {"Dockerfile": "FROM a\nCOPY x /x\nRUN rm /x\n"})
    assert [cli("dockerfile", "Dockerfile", *more).status for more in ([], ["--fail-on", "medium"])] == [0, 1]
    write(cli.folder, {".image-audit.yaml": "fail_on: medium\n"})
    assert cli("dockerfile", "Dockerfile").status == 1
    assert cli("dockerfile", "Dockerfile", "--fail-on", "never").status == 0


def test_rules_are_chosen_by_option_and_config(cli: Cli, bad: Path) -> None:
    def rules(*options: str) -> set[str]:
        return {f["rule"] for f in cli("dockerfile", "Dockerfile", "--format", "json", *options).json["findings"]}

    assert rules("--rule", "cache-order", "--rule", "copy-context") == {"cache-order", "copy-context"}
    assert "secret-in-env" not in rules("--exclude-rule", "secret-in-env")
    of_secret = ("github-pat", "secret-written-to-file")
    assert "secret-in-run" not in rules(*(word for rule in of_secret for word in ("--exclude-rule", rule)))
    write(cli.folder, {".image-audit.yaml": f"exclude: {{rules: [cache-order, {', '.join(of_secret)}]}}\n"})
    assert not rules() & {"cache-order", "secret-in-run"}
    done = cli("dockerfile", "Dockerfile", "--rule", "cache-ordr")
    assert done.status == 2 and "unknown rule 'cache-ordr'; did you mean 'cache-order'?" in done.err


def test_own_detection_rules_are_used(cli: Cli) -> None:
    rule = (
        "- {id: acme, name: Acme token, provider: acme, severity: critical, confidence: high, "
        "pattern: 'acme_[0-9]{12}', keywords: [acme_], examples: ['acme_{digits:12}'], counterexamples: ['acme_1']}\n"
    )
    write(cli.folder, {"rules.yaml": rule, "Dockerfile": "FROM a\nRUN x acme_" + "918273645546\n"})
    done = cli("dockerfile", "Dockerfile", "--rules", "rules.yaml", "--format", "json")
    assert [(f["rule"], f["severity"]) for f in done.json["findings"]] == [("secret-in-run", "critical")]


def test_the_context_is_the_folder_named(cli: Cli) -> None:
    write(cli.folder, {"docker/app.Dockerfile": "FROM a\nCOPY . /app\n", ".env": env_file()})
    assert cli("dockerfile", "docker/app.Dockerfile").status == 0
    assert cli("dockerfile", "docker/app.Dockerfile", "--context", ".").status == 1
    write(cli.folder, {"docker/app.Dockerfile.dockerignore": ".env\n"})
    assert cli("dockerfile", "docker/app.Dockerfile", "--context", ".").status == 0


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({}, ["Dockerfile"], "Dockerfile: can't be read: No such file or directory"),
        ({"Dockerfile": "FROM a\nRUN <<EOF\n"}, ["Dockerfile"], "Dockerfile:2: here-document EOF without end"),
        ({"Dockerfile": "FROM a\nFRM b\n"}, ["Dockerfile"], "Dockerfile:2: unknown instruction FRM"),
        ({"Dockerfile": ""}, ["Dockerfile"], "Dockerfile: no FROM"),
        ({"Dockerfile": "FROM a\n\0"}, ["Dockerfile"], "Dockerfile:2: not text"),
        ({"Dockerfile": "FROM a\n"}, ["Dockerfile", "--context", "nowhere"], "nowhere: no such directory"),
        ({"Dockerfile": "FROM a\n", ".dockerignore": "[a\n"}, ["Dockerfile"], ".dockerignore:1: malformed pattern [a"),
        ({}, ["."], "can't be read: Is a directory"),
        ({}, [], "Missing argument 'FILE'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    cli: Cli, files: dict[str, str], arguments: list[str], message: str
) -> None:
    write(cli.folder, files)
    done = cli("dockerfile", *arguments)
    assert done.status == 2 and done.out == ""
    assert message in done.err and len(done.err.splitlines()) == 1, done.err


def test_a_hostile_file_can_t_drive_the_terminal(cli: Cli) -> None:
    write(
        cli.folder,
        {"Dockerfile": "FROM a\nCOPY \x1b[2Jid_rsa /x\x9b31m\nRUN rm /x*\nENV \x1b]0;TOKEN=hunter2secret9\n"},
    )
    for form in ("table", "json", "sarif"):
        done = cli("dockerfile", "Dockerfile", "--format", form)
        assert done.status in (0, 1) and not set(done.out) & {"\x1b", "\x9b"}
    done = cli("dockerfile", "Bad\x1b[31m")
    assert done.status == 2 and "\x1b" not in done.err


def test_help_names_the_command(cli: Cli) -> None:
    assert "dockerfile" in cli("--help").out and "--context DIR" in cli("dockerfile", "--help").out


class TestFix:
    TEXT = "FROM debian\nARG API_TOKEN\nCOPY . /app\nRUN ./x\nCMD ./y {token}\n"

    @pytest.fixture
    def folder(self, cli: Cli) -> Path:
        write(cli.folder, {"Dockerfile": self.TEXT.replace("{token}", token(1)), ".env": env_file()})
        (cli.folder / "Dockerfile").chmod(0o640)
        return cli.folder

    def test_a_diff_is_printed_and_nothing_is_changed(self, cli: Cli, folder: Path) -> None:
        done = cli("dockerfile", "Dockerfile", "--fix")
        assert done.status == 1 and (folder / "Dockerfile").read_text().startswith("FROM debian\nARG")
        assert done.out == (
            "--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1,5 +1,5 @@\n+# syntax=docker/dockerfile:1\n FROM debian\n"
            "-ARG API_TOKEN\n COPY . /app\n-RUN ./x\n+RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x\n"
            " CMD ./y ****\n--- /dev/null\n+++ b/.dockerignore\n@@ -0,0 +1 @@\n+.env\n"
        )
        assert done.err.splitlines() == [
            "image-audit: secrets in the diff are masked, so `patch` can't apply it: use --fix --write",
            "image-audit: Dockerfile:2: fixed secret-in-arg",
            "image-audit: Dockerfile:3: fixed copy-context",
            "image-audit: Dockerfile:5: not fixed secret-in-run: CMD can't read secrets during the build",
            "image-audit: the build no longer sees .env",
            "image-audit: build it with: docker build --secret id=api-token,env=API_TOKEN …",
        ]

    def test_write_applies_what_the_diff_shows(self, cli: Cli, folder: Path) -> None:
        (folder / ".dockerignore").write_text("a")
        done = cli("dockerfile", "Dockerfile", "--fix", "--write", "-q", "-o", "left.json")
        assert (done.status, done.out) == (1, "") and len(done.err.splitlines()) == 1
        assert (folder / ".dockerignore").read_text() == "a\n.env\n"
        assert "env=API_TOKEN ./x" in (folder / "Dockerfile").read_text()
        assert (folder / "Dockerfile").stat().st_mode & 0o777 == 0o640
        left = json.loads((folder / "left.json").read_text())["findings"]
        assert [(f["rule"], f["line"]) for f in left] == [("secret-in-run", 5)]
        assert left == cli("dockerfile", "Dockerfile", "--format", "json").json["findings"]
        assert cli("dockerfile", "Dockerfile", "--fix").out == ""

    def test_the_exit_code_is_about_the_rest(self, cli: Cli) -> None:
        write(cli.folder, {"Dockerfile": "FROM debian\nARG API_TOKEN\nRUN ./x\n"})
        assert cli("dockerfile", "Dockerfile").status == 1
        assert cli("dockerfile", "Dockerfile", "--fix").status == 0
        assert cli("dockerfile", "Dockerfile", "--fix", "--exclude-rule", "secret-in-arg").out == ""

    @pytest.mark.parametrize(("newline", "end"), [("\n", "\n"), ("\r\n", "")])
    def test_git_applies_a_diff_without_secrets(self, cli: Cli, newline: str, end: str) -> None:
        text = f"FROM debian\nARG API_TOKEN\nRUN ./x\nRUN touch /a\nRUN rm /a{end}".replace("\n", newline)
        (cli.folder / "Dockerfile").write_bytes(text.encode())
        (cli.folder / "p").write_bytes(cli("dockerfile", "Dockerfile", "--fix").raw)
        subprocess.run(["git", "apply", "p"], cwd=cli.folder, check=True)
        applied = (cli.folder / "Dockerfile").read_bytes()
        (cli.folder / "Dockerfile").write_bytes(text.encode())
        cli("dockerfile", "Dockerfile", "--fix", "--write")
        assert (cli.folder / "Dockerfile").read_bytes() == applied != text.encode()

    @pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
    def test_a_link_out_of_the_context_is_not_followed(self, cli: Cli, folder: Path, name: str) -> None:
        outside = folder.parent / "outside"
        (folder / name).touch()
        (folder / name).replace(outside)
        (folder / name).symlink_to(outside)
        before = outside.read_text()
        done = cli("dockerfile", "Dockerfile", "--fix", "--write")
        assert done.status == 2 and f"{name}: is a symbolic link to a file outside of" in done.err
        assert outside.read_text() == before and (folder / name).is_symlink()

    def test_a_link_within_the_context_stays_one(self, cli: Cli, folder: Path) -> None:
        (folder / "Dockerfile").replace(folder / "real")
        (folder / "Dockerfile").symlink_to("real")
        assert cli("dockerfile", "Dockerfile", "--fix", "--write").status == 1
        assert (folder / "Dockerfile").is_symlink() and "--mount" in (folder / "real").read_text()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--write"], "--write needs --fix"),
            (["--fix", "--format", "json"], "--fix prints a diff"),
        ],
    )
    def test_misuse_is_told(self, cli: Cli, folder: Path, options: list[str], message: str) -> None:
        done = cli("dockerfile", "Dockerfile", *options)
        assert done.status == 2 and message in done.err

    def test_mixed_line_ends_are_told(self, cli: Cli) -> None:
        (cli.folder / "Dockerfile").write_bytes(b"FROM a\r\nARG API_TOKEN\nRUN ./x\n")
        done = cli("dockerfile", "Dockerfile", "--fix")
        assert done.status == 2 and "some lines end with CRLF" in done.err

    def test_a_file_without_problems_has_no_diff(self, cli: Cli) -> None:
        write(cli.folder, {"Dockerfile": "FROM a\n"})
        done = cli("dockerfile", "Dockerfile", "--fix")
        assert (done.status, done.out, done.err) == (0, "", "image-audit: Dockerfile: no problems found\n")

    def test_the_diff_masks_every_secret_and_escapes_controls(self, cli: Cli, bad: Path) -> None:
        bad.write_text(f"# \x1b[2J {token(2)}\n" + bad.read_text())
        done = cli("dockerfile", "Dockerfile", "--fix")
        for secret in (token(1), token(2), "hunter2secret", "\x1b"):
            assert secret not in done.out + done.err
        assert "ENV DB_PASSWORD=****" in done.out
