"""The docs test itself: what it takes for the same, and which pages it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import free_port, started_nursery
from tests.docs.content import check
from tests.docs.output import same
from tests.docs.page import Page, PageError, parse
from tests.docs.reader import Done, read
from tests.docs.services import forked_command

SERVE = """
import signal, socket, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
server = socket.create_server(("127.0.0.1", {port}))
signal.sigwait([signal.SIGTERM])
sys.exit({status})
"""
"""The kernel accepts the connections: a signal just before a blocking accept() would not end it."""
SECRET_LINE = "CRITICAL  a token  ghp_****9xKq\n"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a b\n  c", "a\nb c\n"),
        ("first\n…\nlast", "first\nsecond\nthird\nlast"),
        ("first\n…", "first"),
        ("…\nlast", "last"),
        ("sha256:… done", "sha256:0123456789abcdef done"),
        ("3 layers, 214 MB, in 2.5 s", "3 layers, 7.9 MB, in 10 s"),
        (SECRET_LINE, "CRITICAL  a token  ghp_****rPju"),
        ("written on 2026-11-24", "written on 2027-01-02"),
        ("────", "──────────"),
    ],
)
def test_what_may_differ_is_the_same(shown: str, printed: str) -> None:
    assert same(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("a b", "a"), ("a", "a b"), ("a … b", "a c"), ("3 layers", "4 layers"), ("", "a"), ("x…", "y")],
)
def test_what_differs_otherwise_is_not(shown: str, printed: str) -> None:
    assert not same(shown, printed)


def follow(text: str, folder: Path) -> list[Done]:
    return read(parse(text, "page"), folder, {"PATH": "/usr/bin:/bin"})


def block(language: str, text: str, mark: str = "") -> str:
    return (f"<!-- test: {mark} -->\n" if mark else "") + f"```{language}\n{text}\n```\n\n"


def test_variables_and_folders_carry_on_and_exit_codes_are_noted(tmp_path: Path) -> None:
    text = block("sh", "mkdir a; cd a; x=1") + block(
        "console", '$ echo "$x $(basename $PWD)"\n1 a\n$ false\n', "exit=1"
    )
    first, second, third = follow(text, tmp_path)
    assert (first.exits, second.printed, third.exits) == ([], "1 a\n", [1])
    assert second.command.shown == "1 a\n" and third.command.block.exits == [1]


def test_files_are_saved_and_lines_typed(tmp_path: Path) -> None:
    text = block("yaml", "a: 1", "file=in/a.yaml") + block("sh", "cat in/a.yaml; cat", "input=one,two")
    assert follow(text, tmp_path)[0].printed == "a: 1\none\ntwo\n"


def test_a_new_folder_is_empty(tmp_path: Path) -> None:
    assert follow(block("sh", "touch a") + block("sh", "ls", "folder"), tmp_path)[1].printed == ""


def test_what_runs_in_the_background_is_ended(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "serve.py").write_text(SERVE.format(port=port, status=0))
    serve = block("sh", f"python3 {tmp_path}/serve.py", f"background={port}")
    first, second = follow(serve + block("sh", f"exec 3<>/dev/tcp/127.0.0.1/{port}"), tmp_path)
    assert (first.exits, second.exits) == ([], [])


def test_what_fails_in_the_background_is_told(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "serve.py").write_text(SERVE.format(port=port, status=3))
    with pytest.raises(AssertionError, match="what ran in the background ended with 3"):
        follow(block("sh", f"python3 {tmp_path}/serve.py", f"background={port}"), tmp_path)


def test_a_shell_that_ends_early_is_told(tmp_path: Path) -> None:
    first, second = follow(block("sh", "true") + block("sh", "exit 3"), tmp_path)
    assert (first.exits, second.exits) == ([], None)


def test_a_text_block_that_comes_next_is_the_output(tmp_path: Path) -> None:
    page: Page = parse(block("sh", "echo a") + "prints\n\n" + block("text", "a") + block("text", "a picture"), "page")
    assert [one.output for one in page.blocks] == ["a\n", None, None]


def test_a_forked_command_is_as_one_that_is_started(tmp_path: Path, environment: dict[str, str]) -> None:
    text = block(
        "sh",
        "mkdir a; cd a; echo FROM scratch >Dockerfile; image-audit dockerfile Dockerfile; image-audit scan none.tar\n"
        "echo DB_PASSWORD=changeme | image-audit rules explain --value-stdin | tail -n 3\n"
        "mkfifo pipe; image-audit scan - <pipe & exec 3>pipe; sleep 1; kill -TERM $!; wait $! 2>/dev/null",
    )
    forked_command(tmp_path, started_nursery().address)
    seen = []
    for programs in (tmp_path, Path(sys.executable).parent):
        own = {**environment, "PATH": f"{programs}:{environment['PATH']}"}
        (tmp_path / f"of-{programs.name}").mkdir()
        (done,) = read(parse(text, "page"), tmp_path / f"of-{programs.name}", own)
        seen.append((done.exits, done.printed.splitlines()[:-1]))
    assert seen[0] == seen[1] and seen[0][0] == [2, 143], seen


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("```\nls\n```\n", "page:1: a block of no language"),
        ("a\n\n    ls\n", "page:3: a block that is only indented"),
        (block("sh", "ls", "exitt=1"), "unknown mark exitt"),
        (block("sh", "ls", "shown"), "say why"),
        ("<!-- test: exit=1 -->\n\nprose\n", "belongs right before a block"),
        ("<!-- test: exit=1 -->\n", "has no block"),
    ],
)
def test_a_page_that_breaks_the_rules_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        parse(text, "page")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("yaml", "fail_onn: high\n"),
        ("yaml", "- {id: a}\n"),
        ("yaml", "jobs: {a: {runs-on: x, steps: [{uses: example/image-audit@v1, with: {target: a}}]}}\n"),
        ("yaml", "apiVersion: v1\nkind: Secret\ndatta: {}\n"),
        ("json", "{"),
        ("dockerfile", "FORM debian\n"),
    ],
)
def test_a_file_that_its_reader_would_refuse_is_refused(language: str, text: str) -> None:
    with pytest.raises(Exception):  # noqa: B017  (each reader has its own)
        check(language, text)
