"""Copied secret files become mounts, contexts get ignore lines, orders and removals are put right."""

from __future__ import annotations

import pytest

from tests.dockerfile.conftest import PRIVATE_KEY, env_file
from tests.dockerfile.fix.conftest import Fixer
from tests.images import token

SYNTAX = "# syntax=docker/dockerfile:1\n"
NPMRC = {".npmrc": f"//r.example.com/:_authToken={token(8)}\n"}
KEY = {"id_rsa": PRIVATE_KEY}
NPM_MOUNT = "RUN --mount=type=secret,id=npmrc,target=/app/.npmrc"
APP = "FROM debian\nWORKDIR /app\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("COPY .npmrc .\nRUN npm ci", f"{NPM_MOUNT} npm ci"),
        ("RUN touch x\nCOPY .npmrc .\nRUN rm .npmrc", "RUN touch x"),
        ("COPY .npmrc .\nRUN npm ci && rm .npmrc", f"{NPM_MOUNT} npm ci"),
        ("COPY .npmrc .\nRUN npm ci && \\\n    rm -f .npmrc && \\\n    ls", f"{NPM_MOUNT} npm ci && \\\n    ls"),
        ("COPY .npmrc .\nRUN chmod 600 .npmrc && npm ci\nRUN rm .npmrc", f"{NPM_MOUNT} npm ci"),
        ("COPY package.json .npmrc ./\nRUN npm ci", f"COPY package.json ./\n{NPM_MOUNT} npm ci"),
        ("COPY package.json \\\n    .npmrc \\\n    ./\nRUN npm ci",
         f"COPY package.json \\\n    ./\n{NPM_MOUNT} npm ci"),
        ("COPY .npmrc /app/.npmrc\nRUN apt-get install -y x\nRUN npm ci",
         f"RUN apt-get install -y x\n{NPM_MOUNT} npm ci"),
        ("USER node\nCOPY .npmrc .\nRUN npm ci", f"USER node\n{NPM_MOUNT},mode=0444 npm ci"),
    ],
)  # fmt: skip
def test_a_configuration_file_is_mounted_where_it_was(fix: Fixer, before: str, after: str) -> None:
    head = SYNTAX if "--mount" in after else ""
    assert fix.text(f"{APP}{before}\n", NPMRC) == f"{head}{APP}{after}\n"


def test_an_ssh_key_becomes_an_agent(fix: Fixer) -> None:
    result = fix(
        "FROM debian\nCOPY id_rsa /root/.ssh/id_rsa\n"
        "RUN chmod 600 /root/.ssh/id_rsa && ssh-keyscan git.example.com >> /root/.ssh/known_hosts && "
        "git clone git@git.example.com:a/b.git /b && rm /root/.ssh/id_rsa\nRUN curl https://a.example.com -o /x\n",
        KEY,
    )
    assert result.unfixed == () and result.build_options == ("--ssh default",)
    assert result.source.text == (
        f"{SYNTAX}FROM debian\nRUN mkdir -p -m 0700 /root/.ssh\n"
        "RUN --mount=type=ssh \\\n    ssh-keyscan git.example.com >> /root/.ssh/known_hosts && "
        "git clone git@git.example.com:a/b.git /b\nRUN curl https://a.example.com -o /x\n"
    )


def test_the_folder_of_a_key_may_be_removed(fix: Fixer) -> None:
    text = fix.text("FROM debian\nCOPY id_rsa /root/.ssh/id_rsa\nRUN git clone git@h:a && rm -rf /root/.ssh\n", KEY)
    assert text == f"{SYNTAX}FROM debian\nRUN --mount=type=ssh git clone git@h:a && rm -rf /root/.ssh\n"


@pytest.mark.parametrize(
    ("text", "files", "reason"),
    [
        ("COPY .npmrc .\nRUN mkdir /x", NPMRC, "no step of the build reads /app/.npmrc"),
        ("COPY .npmrc .\nRUN npm ci\nCMD cat .npmrc", NPMRC, "CMD in line 5 names .npmrc"),
        ("COPY .npmrc .\nRUN cp .npmrc /root/ && npm ci", NPMRC, "line 4 needs the file .npmrc itself (cp)"),
        ("COPY .npmrc .\nRUN npm ci; rm .npmrc", NPMRC, "line 4 handles .npmrc, and is not a plain list"),
        ("COPY .npmrc .\nRUN npm ci && rm .npmrc x", NPMRC, "line 4 removes more than .npmrc with one command"),
        ("COPY .npmrc /home\nRUN npm ci", NPMRC, "it is not certain whether /home is a folder"),
        ("COPY .env .\nRUN ./x", {".env": env_file()}, "programs may read .env in containers"),
        ("COPY id_rsa /root/.ssh/\nRUN ssh -i /root/.ssh/id_rsa h", KEY, "line 4 needs the file id_rsa itself"),
        ('COPY id_rsa /root/.ssh/\nRUN GIT_SSH_COMMAND="ssh -i /root/.ssh/id_rsa" git clone x', KEY,
         "needs the file id_rsa"),
        ('ENV GIT_SSH_COMMAND="ssh -i /root/.ssh/id_rsa"\nCOPY id_rsa /root/.ssh/\nRUN git clone x', KEY,
         "ENV in line 3"),
        ("COPY keys/ /k/\nRUN ./x", {"keys/id_rsa": PRIVATE_KEY}, "the file is copied with its folder"),
        ("COPY . .\nRUN . ./.env && ./x", {".env": env_file()}, "RUN in line 4 names .env"),
        ("COPY . .\nRUN git describe", {".git/HEAD": ""}, "git in line 4 reads .git"),
        ("ONBUILD COPY .npmrc .", NPMRC, "the instruction writes the file itself"),
    ],
)  # fmt: skip
def test_the_reason_is_told(fix: Fixer, text: str, files: dict[str, str], reason: str) -> None:
    result = fix(f"{APP}{text}\n", files)
    assert result.source.text == f"{APP}{text}\n" and result.ignore_lines is None
    assert reason in " ".join(reason for _, reason in result.unfixed)


def test_a_later_copy_from_the_stage_keeps_the_file(fix: Fixer) -> None:
    text = "FROM debian AS a\nCOPY .npmrc /app/\nRUN npm ci\nFROM debian\nCOPY --from=a /app/.npmrc /x\n"
    assert fix.reason(text, NPMRC) == "a later COPY --from copies /app/.npmrc"


class TestIgnoreLines:
    def test_secret_files_and_git_are_excluded(self, fix: Fixer) -> None:
        files = {
            ".env": env_file(),
            "a [1].env": "",
            "deep/x.pem": PRIVATE_KEY,
            ".git/HEAD": "",
            ".dockerignore": "b\n",
        }
        result = fix(f"{APP}COPY . .\n", files)
        assert result.unfixed == () and result.ignore_lines == ("b", ".env", "deep/x.pem", ".git")

    def test_special_characters_are_escaped(self, fix: Fixer) -> None:
        result = fix(f"{APP}COPY . .\n", {"a[1]*/.env": env_file(), "!/.env": env_file()})
        assert result.ignore_lines is None and "has a name that .dockerignore can't express" in result.unfixed[0][1]
        (fix.folder / "!/.env").unlink()
        assert fix(f"{APP}COPY . .\n").ignore_lines == (r"a\[1\]\*/.env",)

    def test_a_configuration_file_is_mounted_in_its_place(self, fix: Fixer) -> None:
        result = fix(f"{APP}COPY . .\nRUN npm run x\n", NPMRC)
        assert result.source.text == f"{SYNTAX}{APP}COPY . .\n{NPM_MOUNT} npm run x\n"
        assert result.ignore_lines == (".npmrc",) and result.build_options == ("--secret id=npmrc,src=.npmrc",)

    def test_the_ignore_file_of_the_dockerfile_is_extended(self, fix: Fixer) -> None:
        fix(f"{APP}COPY . .\n", {".env": env_file(), "Dockerfile.dockerignore": "b\n", ".dockerignore": "c\n"})
        assert (fix.folder / "Dockerfile.dockerignore").read_text() == "b\n.env\n"
        assert (fix.folder / ".dockerignore").read_text() == "c\n"


class TestOrder:
    CASES = (
        ("npm ci", {"package.json": "{}", "package-lock.json": "{}"}, "package.json package-lock.json"),
        ("npm ci && npm cache clean --force", {"package.json": "{}"}, "package.json"),
        ("yarn install --frozen-lockfile", {"package.json": "{}", "yarn.lock": ""}, "package.json yarn.lock"),
        ("pip install -r requirements.txt", {"requirements.txt": "flask==3\n"}, "requirements.txt"),
        ("poetry install --no-root", {"pyproject.toml": "", "poetry.lock": ""}, "pyproject.toml poetry.lock"),
        ("uv sync --no-install-project", {"pyproject.toml": "", "uv.lock": ""}, "pyproject.toml uv.lock"),
        ("go mod download", {"go.mod": "module a\n", "go.sum": ""}, "go.mod go.sum"),
        ("bundle install", {"Gemfile": "gem 'rails'\n", "Gemfile.lock": ""}, "Gemfile Gemfile.lock"),
    )

    @pytest.mark.parametrize(("command", "files", "copied"), CASES, ids=[case[0] for case in CASES])
    def test_the_manifests_are_copied_first(self, fix: Fixer, command: str, files: dict[str, str], copied: str) -> None:
        text = fix.text(f"{APP}COPY --chown=1 . .\n# c\nRUN {command}\nRUN make\n", files)
        assert text == f"{APP}COPY --chown=1 {copied} ./\nRUN {command}\nCOPY --chown=1 . .\n# c\nRUN make\n"

    def test_packages_that_need_no_file_are_installed_first(self, fix: Fixer) -> None:
        run = "RUN apt-get update && \\\n    apt-get install -y x && \\\n    rm -rf /var/lib/apt/lists/*\n"
        files = {"reqs/a.txt": "x\n"}
        text = fix.text(f"{APP}COPY . /app\n{run}RUN pip install -r reqs/a.txt\n", files)
        assert text == f"{APP}COPY reqs/a.txt /app/reqs/\n{run}RUN pip install -r reqs/a.txt\nCOPY . /app\n"

    @pytest.mark.parametrize(
        ("command", "files", "reason"),
        [
            ("npm ci", {}, "package.json is not in the build context"),
            ("npm ci", {"package.json": '{"scripts": {"postinstall": "x"}}'}, "has the script postinstall"),
            ("npm ci", {"package.json": '{"workspaces": ["a"]}'}, "refers to other packages"),
            ("npm ci", {"package.json": '{"dependencies": {"a": "file:a"}}'}, "refers to other packages"),
            ("npm ci", {"package.json": "["}, "package.json can't be read"),
            ("npm ci", {"package.json": "{}", "node_modules/a": ""}, "the context holds installed packages"),
            ("npm ci && npm run build", {"package.json": "{}"}, "does more than install packages (npm)"),
            ("npm ci && make", {"package.json": "{}"}, "does more than install packages (make)"),
            ("cd web && npm ci", {"package.json": "{}"}, "does more than install packages (cd)"),
            ("pip install -r requirements.txt", {"requirements.txt": "-r other.txt\n"}, "refers to other files"),
            ("pip install -r requirements.txt", {"requirements.txt": "./pkg\n"}, "refers to other files"),
            ("pip install -r requirements.txt -e .", {"requirements.txt": "x\n"}, "reads more files"),
            ("poetry install", {"pyproject.toml": ""}, "unless it is called with --no-root"),
            ("go mod download", {"go.mod": "replace a => ../a\n"}, "go.mod refers to other files"),
            ("bundle install", {"Gemfile": "gemspec\n"}, "Gemfile refers to other files"),
            ("cargo build", {"Cargo.toml": ""}, "builds the sources too"),
        ],
    )  # fmt: skip
    def test_the_reason_is_told(self, fix: Fixer, command: str, files: dict[str, str], reason: str) -> None:
        assert reason in fix.reason(f"{APP}COPY . .\nRUN {command}\n", files)

    def test_a_step_in_between_is_a_reason(self, fix: Fixer) -> None:
        text = f"{APP}COPY . .\nRUN make\nRUN npm ci\n"
        assert "other instructions stand between" in fix.reason(text, {"package.json": "{}"})

    def test_builds_in_a_discarded_stage_get_a_cache(self, fix: Fixer) -> None:
        head, tail = "FROM rust AS build\nWORKDIR /app\nCOPY . .\n", "FROM debian\nCOPY --from=build /app/x /x\n"
        text = fix.text(f"{head}RUN cargo build\n{tail}", {"Cargo.toml": ""})
        assert text == f"{head}RUN --mount=type=cache,target=/usr/local/cargo/registry cargo build\n{tail}"

    @pytest.mark.parametrize(
        ("earlier", "build", "reason"),
        [
            ("", "mvn -B -o package", "works offline"),
            ("COPY repo /root/.m2/repository\n", "mvn package", "line 3 writes to /root/.m2/repository"),
        ],
    )
    def test_a_cache_never_hides_packages(self, fix: Fixer, earlier: str, build: str, reason: str) -> None:
        head, tail = (
            f"FROM maven AS build\nWORKDIR /app\n{earlier}COPY . .\n",
            "FROM debian\nCOPY --from=build /app/x /x\n",
        )
        assert reason in fix.reason(f"{head}RUN {build}\n{tail}", {"pom.xml": "", "repo/a/b.jar": "x"})

    def test_a_cache_leaves_the_settings_of_a_user(self, fix: Fixer) -> None:
        password = {
            "settings.xml": f"<server><username>u</username><password>{token(9)}</password></server>\n",
            "pom.xml": "",
        }
        result = fix(
            "FROM maven AS build\nWORKDIR /app\nCOPY settings.xml /root/.m2/\nCOPY pom.xml src ./\nCOPY . .\n"
            "RUN mvn package\nFROM debian\nCOPY --from=build /app/x /x\n",
            {**password, "src/A.java": "x"},
        )
        assert result.unfixed == () and result.ignore_lines == ("settings.xml",)
        assert "COPY settings.xml" not in result.source.text
        assert "type=secret,id=settings-xml,target=/root/.m2/settings.xml" in result.source.text
        assert "type=cache,target=/root/.m2/repository" in result.source.text


def test_a_file_that_a_copy_names_is_not_taken_from_the_context_before_the_copy(fix: Fixer) -> None:
    files = {"auth.json": f'{{"github-oauth": {{"github.com": "{token(10)}"}}}}\n', "composer.json": "{}"}
    result = fix(
        "FROM composer AS vendor\nWORKDIR /app\nCOPY auth.json composer.json ./\nRUN composer install\n"
        "FROM php\nCOPY --from=vendor /app/vendor /v\nCOPY . /srv\n",
        files,
    )
    assert result.unfixed == () and result.ignore_lines == ("auth.json",)
    assert (
        "COPY composer.json ./\nRUN --mount=type=secret,id=auth-json,target=/app/auth.json composer"
        in result.source.text
    )
    (fix.folder / ".dockerignore").unlink()
    kept = fix("FROM php\nCOPY auth.js* /a/\nCOPY . /srv\n", files)
    assert kept.ignore_lines is None and "COPY in line 2 names auth.js*" in [reason for _, reason in kept.unfixed]


class TestRemovedLater:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("RUN touch /a\nRUN rm /a", "RUN touch /a && \\\n    rm /a"),
            ("RUN touch /a && \\\n    ls\nRUN ls\n# c\nRUN rm /a",
             "RUN touch /a && \\\n    ls && \\\n    ls && \\\n    rm /a\n# c"),
            ("RUN apt-get update && apt-get install a\nRUN apt-get purge a && \\\n rm -r /var/lib/apt/lists",
             "RUN apt-get update && apt-get install a && \\\n    apt-get purge a && \\\n rm -r /var/lib/apt/lists"),
            ("COPY x.tar /tmp/\nRUN tar xf /tmp/x.tar -C /opt && rm /tmp/x.tar",
             "RUN --mount=type=bind,source=x.tar,target=/tmp/x.tar tar xf /tmp/x.tar -C /opt"),
        ],
    )  # fmt: skip
    def test_the_steps_become_one(self, fix: Fixer, before: str, after: str) -> None:
        assert fix.text(f"FROM debian\n{before}\n", {"x.tar": "x"}) == f"FROM debian\n{after}\n"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("RUN touch /a\nCOPY b /b\nRUN rm /a", "COPY in line 3 stands between the steps"),
            ("RUN touch /a; ls\nRUN rm /a", "line 2 is not a plain list"),
            ("RUN touch /a\nRUN rm /a || true", "line 3 is not a plain list"),
            ("RUN cd /tmp && touch /a\nRUN rm /a", "line 2 changes the shell"),
            ("RUN X=1 && touch /a\nRUN rm /a /$X", "line 2 changes the shell"),
            ("RUN touch /a\nRUN --network=none rm /a", "line 3 has other options than line 2"),
            ('RUN touch /a\nRUN ["rm", "/a"]', "line 3 is not a plain list"),
            ("RUN touch /a # b\nRUN rm /a", "line 2 is not a plain list"),
            ("COPY a b /x/\nRUN rm /x/a", "line 2 adds more than this file"),
            ('FROM a AS w\nSHELL ["pwsh", "-c"]\nFROM w\nRUN touch /a\nRUN rm /a', "may not know &&"),
            ("RUN touch /a\nRUN rm /a \\", "line 2 is written in a form that can't be edited safely"),
        ],
    )
    def test_the_reason_is_told(self, fix: Fixer, text: str, reason: str) -> None:
        assert reason in fix.reason(f"FROM debian\n{text}\n", {"b": "", "a": ""})
