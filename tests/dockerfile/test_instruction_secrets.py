"""Secrets in instructions: found at their line, and what only looks like one is not."""

from __future__ import annotations

import pytest

from auditor.core.finding import Severity
from auditor.rulebook.examples import fill
from tests.dockerfile.conftest import Check
from tests.images import token

PASSWORD = fill("{base62:14}", 7)


def text(*lines: str) -> str:
    return "\n".join(("FROM debian", *lines)) + "\n"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("ENV GITHUB_TOKEN={token}", "secret-in-env"),
        ("ENV A=1 \\\n  # a comment\n\n  B={token}", "secret-in-env"),
        ("ENV OLD {token}", "secret-in-env"),
        ("LABEL build.by={token}", "secret-in-env"),
        ("ONBUILD ENV GITHUB_TOKEN={token}", "secret-in-env"),
        ("USER {token}", "secret-in-env"),
        ("ARG ANY={token}", "secret-in-arg"),
        ("RUN curl -H 'Authorization: token {token}' https://api.acme.io", "secret-in-run"),
        ("RUN apt-get update && \\\n    apt-get install -y git && \\\n    echo {token} > /x", "secret-in-run"),
        ('RUN ["sh", "-c", "echo {token}"]', "secret-in-run"),
        ('CMD ["app", "--token", "{token}"]', "secret-in-run"),
        ("ENTRYPOINT app --token {token}", "secret-in-run"),
        ("HEALTHCHECK CMD curl -H 'X: {token}' localhost", "secret-in-run"),
        ("RUN <<EOF\necho one\necho {token} > /x\nEOF", "secret-in-run"),
        ("RUN cat <<EOF > /root/.x\n{token}\nEOF", "secret-in-run"),
        ("COPY <<EOF /root/.config/gh\ntoken: {token}\nEOF", "secret-file-copied"),
        ("COPY <<one <<two /etc/\nnothing\none\n{token}\ntwo", "secret-file-copied"),
        ("ENV DB_PASSWORD=hunter2secret", "secret-in-env"),
        ("ENV DB_PASSWORD=hunter2", "secret-in-env"),
        ("ENV DB_PASSWORD=s3cr3t-pw", "secret-in-env"),
        ("ENV POSTGRES_PASSWORD='{password}'", "secret-in-env"),
        ("ENV PGPASSWORD={password} X=1", "secret-in-env"),
        ("ENV AWS_SECRET_ACCESS_KEY {password}", "secret-in-env"),
        ("ARG DB_PASSWORD={password}", "secret-in-arg"),
        ("ARG NPM_TOKEN", "secret-in-arg"),
        ("ARG VERSION=1 SSH_PRIVATE_KEY", "secret-in-arg"),
        ("ONBUILD ARG NPM_TOKEN", "secret-in-arg"),
        ("ARG REF\nENV TOKEN=$REF", "secret-in-env"),
        ("RUN export API_KEY={password} && ./build", "secret-in-run"),
        ("RUN ./configure --db-password {password}", "secret-in-run"),
        ("RUN ./configure --db-password={password}", "secret-in-run"),
        ("RUN mysql -u root -p{password} app < /dump.sql", "secret-in-run"),
        ("RUN curl -fsu deploy:{password} https://files.acme.io/x", "secret-in-run"),
        ("RUN sshpass -p {password} ssh deploy@acme.io", "secret-in-run"),
        ("RUN echo '{password}' | docker login -u me --password-stdin", "secret-in-run"),
        ("RUN echo 'root:{password}' | chpasswd", "secret-in-run"),
        ("RUN docker login -u me -p {password} registry.acme.io", "secret-in-run"),
    ],
)  # fmt: skip
def test_a_secret_is_found_at_the_line_of_its_instruction(check: Check, line: str, rule: str) -> None:
    filled = line.replace("{token}", token(3)).replace("{password}", PASSWORD)
    found = check(text(filled))
    at = 3 if line.startswith("ARG REF") else 2
    assert [(p.line, p.rule) for p in found] == [(at, rule)], found
    assert found[0].severity.rank >= Severity.HIGH.rank
    assert token(3) not in str(found) and PASSWORD not in str(found)


@pytest.mark.parametrize(
    "line",
    [
        "ENV PASSWORD_FILE=/run/secrets/x",
        "ENV DB_PASSWORD=",
        'ENV DB_PASSWORD=""',
        "ENV DB_PASSWORD=$OTHER",
        "ENV DB_PASSWORD=${OTHER:-}",
        "ENV DB_PASSWORD=changeme API_KEY=your-api-key TOKEN=xxxxxxxx SECRET_KEY=<secret>",
        "RUN SECRET_KEY_BASE=dummy OTP_SECRET=precompile_placeholder rails assets:precompile",
        "RUN key='B97B0AFCAA1A47F044F2" + "44A07FCC7D46ACCC4CF8'; gpg --recv-keys \"$key\"",
        "RUN echo \"git:$(dd if=/dev/urandom bs=24 count=1 | base64)\" | chpasswd",
        "ENV AUTH=basic AUTH_TYPE=oauth SHA256=" + "0f25a21cf64e58078057adc78f38705163c1d564a959ff30a891c31917011a54",
        "ENV DB_PASSWORD=/run/secrets/db",
        "ENV ALLOW_EMPTY_PASSWORD=yes MYSQL_RANDOM_ROOT_PASSWORD=true",
        "ENV AUTH=none TOKEN_TTL=3600 MAX_TOKENS=4096",
        "ENV TOKEN_URL=https://login.acme.io/oauth/token",
        "ENV GPG_KEY=" + "A035C8C19219BA821ECE" + "A86B64E628F8D684696D",
        "ENV PUBLIC_KEY=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE",
        "ENV KEYCLOAK_VERSION=24.0.1 TOKENIZERS_PARALLELISM=false",
        "ENV SECRET_NAME=db-credentials AWS_ACCESS_KEY_ID_FILE=/x",
        "ARG VERSION=1.2.3 TARGETARCH",
        "ARG PUBLIC_KEY CACHE_KEY TOKEN_FILE GPG_KEY",
        "RUN --mount=type=secret,id=npm,env=NPM_TOKEN npm ci",
        "RUN --mount=type=secret,id=db PASSWORD=$(cat /run/secrets/db) ./migrate",
        "RUN --mount=type=secret,id=t curl -H \"Authorization: Bearer $(cat /run/secrets/t)\" https://a.acme.io",
        "RUN ./app --password-file /run/secrets/db --token \"$TOKEN\"",
        "RUN curl -u \"$USER:$PASS\" https://files.acme.io/x",
        "RUN mkdir -p /x && cp -p a b",
        "RUN echo \"$PASSWORD\" | docker login -u me --password-stdin",
        "RUN git clone https://github.com/acme/app.git && git clone git@github.com:acme/app.git",
        "RUN pip install --extra-index-url https://pypi.acme.io/simple x",
        "RUN --mount=type=secret,id=t pip install -i https://me:$(cat /run/secrets/t)@pypi.acme.io/simple x",
        "RUN --mount=type=secret,id=t,env=TOKEN git clone https://$TOKEN@github.com/acme/app.git",
        "RUN ssh deploy@acme.io true && curl mailto:someone@acme.io",
        "LABEL maintainer=\"Jo Doe <jo@acme.io>\" org.opencontainers.image.source=https://github.com/acme/app",
        "HEALTHCHECK CMD curl -f http://localhost:8080/ || exit 1",
        "COPY <<EOF /etc/app.conf\npassword_file = /run/secrets/db\nEOF",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_is_none(check: Check, line: str) -> None:
    assert check(text(line)) == ()


@pytest.mark.parametrize(
    "line",
    [
        "RUN pip install --extra-index-url https://bob:{password}@pypi.acme.io/simple x",
        "RUN git clone git+https://bob:{password}@git.acme.io/a.git",
        "RUN git clone https://{password}{password}@github.com/acme/app.git",
        "ADD https://bob:{password}@files.acme.io/x.tar.gz /x",
        "ENV PIP_INDEX_URL=https://bob:{password}@pypi.acme.io/simple",
        "RUN <<EOF\ncurl https://bob:{password}@files.acme.io/x\nEOF",
        "ARG INDEX=https://bob:{password}@pypi.acme.io/simple",
    ],
)
def test_credentials_in_a_url_are_one_finding(check: Check, line: str) -> None:
    found = check(text(line.replace("{password}", PASSWORD)))
    assert [(p.line, p.rule, p.severity) for p in found] == [(2, "credentials-in-url", "high")], found
    assert PASSWORD not in str(found) and "****@" in found[0].message


@pytest.mark.parametrize(
    ("password", "severity"), [("hunter2", "high"), ("Tr0ub4dor", "high"), ("password", "medium"), ("app", "medium")]
)
def test_credentials_that_people_think_up_are_found_in_a_url(check: Check, password: str, severity: str) -> None:
    (found,) = check(text(f"RUN git clone https://ci:{password}@git.example.com/a.git"))
    assert (found.rule, found.severity) == ("credentials-in-url", severity)


@pytest.mark.parametrize("password", ["<password>", "${PASSWORD}", "changeme", "your-token"])
def test_a_placeholder_in_a_url_is_none(check: Check, password: str) -> None:
    assert check(text(f"RUN git clone https://ci:{password}@git.example.com/a.git")) == ()


@pytest.mark.parametrize(
    "setting", ["POSTGRES_PASSWORD=postgres", "MYSQL_ROOT_PASSWORD=root", "JWT_SECRET=secret", "DB_PASSWORD=secret123"]
)
@pytest.mark.parametrize("keyword", ["ENV", "ARG"])
def test_a_password_that_is_easy_to_guess_is_medium(check: Check, keyword: str, setting: str) -> None:
    (found,) = check(text(f"{keyword} {setting}"))
    assert found.severity == "medium" and "guess" in found.message


def test_credentials_in_the_base_image_s_address_are_found(check: Check) -> None:
    assert check.rules(f"FROM https://bob:{PASSWORD}@registry.acme.io/base\n") == [(1, "credentials-in-url")]


def test_a_build_argument_in_a_url_is_found_beside_the_argument(check: Check) -> None:
    found = check.rules(text("ARG GIT_TOKEN", "RUN git clone https://$GIT_TOKEN@github.com/a/b.git"))
    assert found == [(2, "secret-in-arg"), (3, "credentials-in-url")]


def test_an_argument_before_the_first_stage_counts(check: Check) -> None:
    assert check.rules("ARG NPM_TOKEN\nFROM debian\n") == [(1, "secret-in-arg")]


def test_an_environment_that_a_stage_inherits_is_known(check: Check) -> None:
    found = check.rules("FROM debian AS a\nARG TOKEN\nENV X=$TOKEN\nFROM a\nENV MY_TOKEN=$TOKEN\n")
    assert found == [(2, "secret-in-arg")]  # arguments end with their stage


class TestDiscardedStages:
    TEXT = "FROM debian AS build\nARG NPM_TOKEN\nRUN make\n{more}FROM scratch\nCOPY --from=build /out /\n"

    def test_a_secret_there_is_less_severe_and_said_to_be_in_the_cache(self, check: Check) -> None:
        (found,) = check(self.TEXT.format(more=""))
        assert (found.line, found.rule, found.severity) == (2, "secret-in-arg", "medium")
        assert "in the build cache, not in the image: of stage build, only /out (line 5) is copied" in found.message

    def test_a_stage_that_the_last_one_builds_upon_is_in_the_image(self, check: Check) -> None:
        (found,) = check("FROM debian AS base\nARG NPM_TOKEN\nFROM base AS middle\nFROM middle\n")
        assert found.severity == "high" and "cache" not in found.message

    def test_a_stage_that_nothing_uses_is_said(self, check: Check) -> None:
        (found,) = check("FROM debian AS dev\nARG NPM_TOKEN\nFROM debian\n")
        assert "of stage dev, nothing is copied" in found.message

    def test_by_number_and_by_mount(self, check: Check) -> None:
        (found,) = check(
            "FROM a\nARG NPM_TOKEN\nFROM b\nRUN --mount=type=bind,from=0,source=/out,target=/in cp /in/x /\n"
        )
        assert "of stage 0, only /out (line 4) is copied" in found.message
