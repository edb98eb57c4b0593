"""No line of a diff shows a secret, wherever it stands in the Dockerfile; the diff is what `git apply` reads."""

from __future__ import annotations

import pytest

from auditor.dockerfile.fix.masked_diff import MaskedLines, unified_diff
from auditor.dockerfile.fix.source_text import SourceText
from auditor.scan import Scanner
from tests.dockerfile.conftest import PRIVATE_KEY
from tests.images import token

TOKEN = token(4)


def test_a_reference_to_a_variable_is_shown(scanner: Scanner) -> None:
    text = 'RUN curl -u deploy:"${PASSWORD}" https://x.example.com'
    assert text in list(MaskedLines(SourceText.of(f"FROM debian\n{text}\n", "D"), "D", scanner))


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (f"# {TOKEN}\n", [TOKEN]),
        (f"LABEL a={TOKEN}\n", [TOKEN]),
        ("ENV DB_PASSWORD hunter2secret\n", ["hunter2secret"]),
        ("ENV A_PASSWORD=postgres B=1\n", ["postgres"]),
        ("ENV A_PASSWORD='hunter2''secret'\n", ["hunter2"]),
        (f"RUN ./x {TOKEN[:20]}\\\n{TOKEN[20:]}\n", [TOKEN[:20], TOKEN[20:]]),
        ("RUN ./x --password \\\n  hunter2secret\n", ["hunter2secret"]),
        ("RUN curl -u a:'hunter2''secret' b\n", ["hunter2"]),
        ("RUN curl http://a:hunter2secret@b/c\n", ["hunter2secret"]),
        ("RUN echo root:hunter2secret | chpasswd\n", ["hunter2secret"]),
        ("COPY <<E /app/.env\nSOME_PW=hunter2secret\nE\n", ["hunter2secret"]),
        (f"COPY <<E /k\n{PRIVATE_KEY}-----END OPENSSH PRIVATE " + "KEY-----\nE\n", ["b3BlbnNz"]),
        (f"RUN <<E\n./x {TOKEN}\nE\n", [TOKEN]),
        ("RUN ./x \x1b[2J\n", ["\x1b"]),
    ],
)
def test_a_secret_is_masked_in_every_line(scanner: Scanner, text: str, secrets: list[str]) -> None:
    shown = "\n".join(MaskedLines(SourceText.of(f"FROM debian\n{text}RUN ls\n", "D"), "D", scanner))
    assert not [secret for secret in secrets if secret in shown]
    assert shown.startswith("FROM debian\n") and shown.endswith("\nRUN ls")


def test_a_value_that_a_variable_brings_hides_no_line(scanner: Scanner) -> None:
    text = f"FROM debian\nENV API_TOKEN={TOKEN}\nRUN curl -u a:$API_TOKEN b\n"
    lines = MaskedLines(SourceText.of(text, "D"), "D", scanner)
    assert list(lines) == ["FROM debian", "ENV API_TOKEN=****", "RUN curl -u a:$API_TOKEN b"]


def test_equal_texts_have_no_diff() -> None:
    assert list(unified_diff(("a", "b"), ["x"], ["x"], (["x"], ["x"]))) == []
