"""Secrets in variables and commands become secret mounts; what can't be fixed has its reason."""

from __future__ import annotations

import pytest

from auditor.dockerfile.fix import fixes
from tests.dockerfile.fix.conftest import Fixer
from tests.images import token

TOKEN = token(7)
SYNTAX = "# syntax=docker/dockerfile:1\n"
PASSWORD = "Xk29fjQ2" + "wZZ1"


def fixed(*lines: str, head: str = SYNTAX) -> str:
    return head + "FROM debian\n" + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ARG NPM_TOKEN\nRUN npm ci", "RUN --mount=type=secret,id=npm-token,env=NPM_TOKEN npm ci"),
        ("ARG A=1 NPM_TOKEN B\nRUN ./x $NPM_TOKEN",
         "ARG A=1 B\nRUN --mount=type=secret,id=npm-token,env=NPM_TOKEN ./x $NPM_TOKEN"),
        (f"ARG T={TOKEN}\nRUN ./x", "RUN --mount=type=secret,id=t,env=T ./x"),
        ("ARG A=1 \\\n    API_TOKEN \\\n    B\nRUN ./x",
         "ARG A=1 \\\n    B\nRUN --mount=type=secret,id=api-token,env=API_TOKEN ./x"),
        ("ARG A=1 \\\n    API_TOKEN\nRUN ./x", "ARG A=1\nRUN --mount=type=secret,id=api-token,env=API_TOKEN ./x"),
        ("ARG NPM_TOKEN\nENV NPM_TOKEN=$NPM_TOKEN\nRUN npm ci",
         "RUN --mount=type=secret,id=npm-token,env=NPM_TOKEN npm ci"),
        ("ARG API_TOKEN\nRUN apt-get update && \\\n    ./x",
         "RUN --mount=type=secret,id=api-token,env=API_TOKEN apt-get update && \\\n    ./x"),
        ("ARG A=1 \\\n  # c\n\n  API_TOKEN\nRUN ./x",
         "ARG A=1\n  # c\n\nRUN --mount=type=secret,id=api-token,env=API_TOKEN ./x"),
        (f"ENV API_TOKEN={TOKEN} P=C:\\\\\nRUN ./x $API_TOKEN",
         "ENV P=C:\\\\\nRUN --mount=type=secret,id=api-token,env=API_TOKEN ./x $API_TOKEN"),
        ("ARG API_TOKEN\nRUN --mount=type=secret,id=api-token,env=API_TOKEN,required=true ./x",
         "RUN --mount=type=secret,id=api-token,env=API_TOKEN,required=true ./x"),
        ("ARG API_TOKEN\nRUN \\\n    ./x", "RUN --mount=type=secret,id=api-token,env=API_TOKEN \\\n    ./x"),
        ('ARG API_TOKEN\nRUN ["./x"]', 'RUN --mount=type=secret,id=api-token,env=API_TOKEN ["./x"]'),
        ("ARG API_TOKEN\nRUN <<EOF\n./x\nEOF", "RUN --mount=type=secret,id=api-token,env=API_TOKEN <<EOF\n./x\nEOF"),
        ("ARG TOKEN\nRUN pip install -i https://ci:$TOKEN@a.example.com/simple app",
         "RUN --mount=type=secret,id=token,env=TOKEN pip install -i https://ci:$TOKEN@a.example.com/simple app"),
        ("ARG API_TOKEN\nRUN echo $API_TOKEN > /t && ./x && rm /t",
         "RUN --mount=type=secret,id=api-token,env=API_TOKEN echo $API_TOKEN > /t && ./x && rm /t"),
        (f"RUN curl -H 'Authorization: Bearer {TOKEN}' https://a.example.com",
         "RUN --mount=type=secret,id=github-token,env=GITHUB_TOKEN "
         "\\\n    curl -H 'Authorization: Bearer '\"${GITHUB_TOKEN}\"'' https://a.example.com"),
        (f'RUN ./x "{TOKEN}"', 'RUN --mount=type=secret,id=github-token,env=GITHUB_TOKEN ./x "${GITHUB_TOKEN}"'),
        (f"RUN ./x {TOKEN}", 'RUN --mount=type=secret,id=github-token,env=GITHUB_TOKEN ./x "${GITHUB_TOKEN}"'),
        (f"RUN MY_TOKEN={TOKEN} ./x", 'RUN --mount=type=secret,id=my-token,env=MY_TOKEN MY_TOKEN="${MY_TOKEN}" ./x'),
        (f"RUN curl -u deploy:{PASSWORD} https://a.example.com -o /x",
         'RUN --mount=type=secret,id=password,env=PASSWORD '
         '\\\n    curl -u deploy:"${PASSWORD}" https://a.example.com -o /x'),
        (f"RUN pip install -i https://ci:{PASSWORD}@a.example.com/simple app",
         "RUN --mount=type=secret,id=password,env=PASSWORD "
         '\\\n    pip install -i https://ci:"${PASSWORD}"@a.example.com/simple app'),
    ],
)  # fmt: skip
def test_a_secret_is_mounted_in_the_step_that_reads_it(fix: Fixer, before: str, after: str) -> None:
    text = fix.text(f"FROM debian\n{before}\n")
    assert text == fixed(after)
    assert TOKEN not in text and PASSWORD not in text


def test_an_env_of_the_build_is_mounted_and_the_user_is_told(fix: Fixer) -> None:
    result = fix(f"FROM debian\nENV A=1 API_TOKEN={TOKEN}\nRUN ./x $API_TOKEN\n")
    assert result.source.text == fixed("ENV A=1", "RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x $API_TOKEN")
    assert result.build_options == ("--secret id=api-token,env=API_TOKEN",)
    assert result.notes == ("containers no longer have API_TOKEN: use docker run --env-file if the program needs it",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"ARG API_TOKEN={TOKEN}\nRUN ./x $API_TOKEN && ./y --api-token={TOKEN}",
         "RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x $API_TOKEN && ./y --api-token=\"${API_TOKEN}\""),
        ("ARG API_TOKEN\nARG api_token\nRUN ./x $API_TOKEN $api_token",
         "RUN --mount=type=secret,id=api-token,env=API_TOKEN \\\n"
         "    --mount=type=secret,id=api-token,env=api_token ./x $API_TOKEN $api_token"),
        (f"RUN ./x --api-token={TOKEN} && ./z\nRUN ./y --api-token={TOKEN}",
         'RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x --api-token="${API_TOKEN}" && ./z\n'
         'RUN --mount=type=secret,id=api-token,env=API_TOKEN ./y --api-token="${API_TOKEN}"'),
    ],
)  # fmt: skip
def test_one_secret_is_mounted_under_one_id(fix: Fixer, before: str, after: str) -> None:
    result = fix(f"FROM debian\n{before}\n")
    assert result.source.text == fixed(after)
    assert result.build_options == ("--secret id=api-token,env=API_TOKEN",)


def test_an_older_builder_reads_one_secret_once(fix: Fixer) -> None:
    head = "# syntax=docker/dockerfile:1.7\n"
    text = fix.text(f"{head}FROM debian\nARG API_TOKEN={TOKEN}\nRUN ./x $API_TOKEN {TOKEN}\n")
    export = 'export API_TOKEN="$(cat /run/secrets/api-token)" && '
    run = f'RUN --mount=type=secret,id=api-token \\\n    {export}./x $API_TOKEN "${{API_TOKEN}}"'
    assert text == fixed(run, head=head)


def test_two_secrets_do_not_get_one_id(fix: Fixer) -> None:
    text = f"FROM debian\nARG API_TOKEN={TOKEN}\nARG api_token={token(8)}\nRUN ./x $API_TOKEN $api_token\n"
    result = fix(text)
    assert result.source.text == text
    assert all("have different values" in reason for _, reason in result.unfixed) and len(result.unfixed) == 2


def test_stages_that_inherit_a_variable_get_the_mount_too(fix: Fixer) -> None:
    text = fix.text("FROM debian AS a\nARG API_TOKEN\nRUN ./x\nFROM a\nRUN ./y\nRUN mkdir /z\n")
    mount = "RUN --mount=type=secret,id=api-token,env=API_TOKEN"
    assert text == f"{SYNTAX}FROM debian AS a\n{mount} ./x\nFROM a\n{mount} ./y\nRUN mkdir /z\n"


def test_a_global_argument_goes_with_its_last_use(fix: Fixer) -> None:
    text = fix.text("ARG API_TOKEN\nFROM debian\nARG API_TOKEN\nRUN ./x\n")
    assert text == fixed("RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x")


def test_an_older_builder_reads_the_file_of_the_secret(fix: Fixer) -> None:
    head = "# syntax=docker/dockerfile:1.7\n"
    text = fix.text(f"{head}FROM debian\nARG API_TOKEN\nRUN ./x\nUSER 1000\nRUN --network=none ./y\n")
    export = 'export API_TOKEN="$(cat /run/secrets/api-token)" && '
    assert text == fixed(
        f"RUN --mount=type=secret,id=api-token {export}./x", "USER 1000",
        f"RUN --mount=type=secret,id=api-token,uid=1000 \\\n    --network=none {export}./y", head=head,
    )  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [
        "# syntax=docker/dockerfile:1.10\n",
        "# escape=\\\n# syntax=docker/dockerfile:1-labs\n",
        SYNTAX + "# unknown=1\n# syntax=docker/dockerfile:1.0\n",
    ],
)
def test_a_directive_is_kept(fix: Fixer, head: str) -> None:
    text = fix.text(f"{head}FROM debian\nARG API_TOKEN\nRUN ./x\n")
    assert text == fixed("RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x", head=head)


def test_line_ends_and_a_byte_order_mark_are_kept(fix: Fixer) -> None:
    text = fix.text("\ufeffFROM debian\r\nARG API_TOKEN\r\nRUN ./x")
    assert text == "\ufeff" + fixed("RUN --mount=type=secret,id=api-token,env=API_TOKEN ./x").rstrip().replace(
        "\n", "\r\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ENV DB_PASSWORD=hunter2secret", "no step of the build names DB_PASSWORD"),
        (f"ENV API_TOKEN={TOKEN}\nRUN ./x $API_TOKEN\nCMD ./y $API_TOKEN", "CMD in line 4 reads API_TOKEN"),
        (f"LABEL token={TOKEN}", "LABEL is read by containers"),
        (f"CMD ./x {TOKEN}", "CMD can't read secrets during the build"),
        (f'RUN ["./x", "{TOKEN}"]', "the command is in JSON form"),
        (f"RUN <<EOF\n./x {TOKEN}\nEOF", "the command is in JSON form or in a here-document"),
        ("ARG API_TOKEN=x2 H=A-$API_TOKEN\nRUN ./x $H", "another setting of this instruction uses API_TOKEN"),
        ("ARG API_TOKEN\nRUN\\\n ./x", "line 3 continues directly after its keyword"),
        (f"ARG API_TOKEN\nRUN # {'long' * 30}\nRUN ./x", "line 3 is written in a form that can't be edited safely"),
        (f'SHELL ["pwsh", "-Command"]\nRUN ./x {TOKEN}', "the shell of this step may not expand"),
        (f"RUN {PASSWORD}_password={PASSWORD} ./x", "part of a longer word"),
        (f"RUN echo {TOKEN} > /t", "may write the secret to a file that stays in the layer"),
        (f"RUN echo {TOKEN} | tee /t", "may write the secret to a file that stays in the layer"),
        (f"RUN T={TOKEN}; echo $T > /t", "may write the secret to a file that stays in the layer"),
        (f"RUN npm config set //r.example.com/:_authToken {TOKEN}", "may write the secret to a file"),
        (f"RUN git clone https://x:{PASSWORD}@git.example.com/a", "may write the secret to a file"),
        ("ARG API_TOKEN\nRUN echo $API_TOKEN > /t", "line 3 may write API_TOKEN to a file"),
        ("ARG API_TOKEN\nRUN git clone https://$API_TOKEN@git.example.com/a", "line 3 may write API_TOKEN to a file"),
        ("ARG API_TOKEN\nRUN echo $API_TOKEN | docker login --password-stdin", "line 3 may write API_TOKEN to a file"),
        ("ARG API_TOKEN\nWORKDIR /$API_TOKEN", "WORKDIR in line 3 uses API_TOKEN, and can't read secrets"),
        ("ARG API_TOKEN\nCOPY <<EOF /t\n$API_TOKEN\nEOF", "COPY in line 3 uses API_TOKEN, and can't read secrets"),
        ("ARG API_TOKEN\nONBUILD RUN ./x $API_TOKEN", "RUN in line 3 uses API_TOKEN"),
        ("ONBUILD ARG API_TOKEN", "ONBUILD instructions are not changed"),
        (f"ADD https://x:{PASSWORD}@a.example.com/x /x", "ADD can't read secrets during the build"),
    ],
)  # fmt: skip
def test_the_reason_is_told(fix: Fixer, text: str, reason: str) -> None:
    assert reason in fix.reason(f"FROM debian\n{text}\n")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("# syntax=docker/dockerfile:1.1\n", "names a builder without secret mounts"),
        ("# syntax=example.com/own:2\n", "names a builder without secret mounts"),
        ("ARG API_TOKEN\nFROM a:$API_TOKEN\n", "FROM in line 2 uses API_TOKEN"),
        (f"# escape=`\nFROM a\nRUN ./x {TOKEN}\n", "the shell of this step may not expand"),
    ],
)
def test_the_builder_and_from_are_respected(fix: Fixer, head: str, reason: str) -> None:
    text = head if "FROM" in head else f"{head}FROM debian\nARG API_TOKEN\nRUN ./x\n"
    assert reason in fix.reason(text)


def test_equal_secrets_are_fixed_one_by_one(fix: Fixer) -> None:
    result = fix(f"FROM debian\nRUN ./x {TOKEN}\nRUN echo {TOKEN} > /t\n")
    assert [(p.line, p.rule) for p in result.fixed] == [(2, "secret-in-run")]
    assert [p.line for p, _ in result.unfixed] == [3] and result.source.text.count(TOKEN) == 1


def test_the_checks_of_a_large_file_are_bounded(fix: Fixer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixes, "_MAX_INSTRUCTIONS", 100)
    lines = (f"ARG A{number}_TOKEN\nRUN ./x{number}\n" for number in range(20))
    result = fix("FROM a\n" + "".join(lines))
    assert len(result.fixed) == 2 and {reason for _, reason in result.unfixed} == {"not tried: the file is too large"}


def test_different_secrets_have_different_names(fix: Fixer) -> None:
    other = token(8)
    text = fix.text(f"FROM debian\nRUN ./x {TOKEN}\nRUN ./y {other}\nRUN ./z {TOKEN}\n")
    one, two = (f"RUN --mount=type=secret,id=github-token{number},env=GITHUB_TOKEN" for number in ("", "-2"))
    assert text == fixed(
        f'{one} ./x "${{GITHUB_TOKEN}}"', f'{two}_2 ./y "${{GITHUB_TOKEN_2}}"', f'{one} ./z "${{GITHUB_TOKEN}}"'
    )
