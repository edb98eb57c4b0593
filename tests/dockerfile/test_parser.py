"""The parser: against BuildKit's own, and what it makes of hostile and broken files."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

from auditor.core.errors import DockerfileError
from auditor.dockerfile.check import check_file
from auditor.dockerfile.input_file import MAX_BYTES
from auditor.dockerfile.instructions import Dockerfile, Heredoc
from auditor.dockerfile.parser import parse, read_dockerfile
from auditor.dockerfile.shell_commands import commands
from auditor.dockerfile.shell_words import expand, parse_arguments, parse_assignments, unquote
from auditor.dockerfile.stages import build_stage_graph
from auditor.scan import Scanner
from tests.conftest import require

PIECES = (
    "FROM a", "FROM a AS b", "RUN x", "RUN x \\", "RUN <<EOF", "RUN cat <<-E > /x", "EOF", "\tE", "E", "# c", " # c",
    "", "  y", "COPY a b", "COPY --from=b --chown=1:1 a b", 'COPY ["a","b c"]', 'CMD ["x"]', "CMD x", "ENV A=b C='d e'",
    "ENV A b c", 'LABEL a="x y"', "ARG X=1", "ONBUILD RUN x", "ONBUILD COPY <<EOF /z", "RUN --mount=type=secret,id=x y",
    "RUN a \\\\", "RUN 'x", 'RUN "<<EOF" z', "RUN <<'EOF' <<E", "# escape=`", "# syntax=a", "RUN a `", "RUN -- x",
    "HEALTHCHECK --interval=1s CMD x", "run\tq", "  RUN z  ", "ADD <<EOF <<E /d/", "RUN x<<EOF", "RUN 3<<EOF y",
    "RUN a \\   ", "\ufeff", "RUN [\"a\", 'b']", 'RUN [ "a" ]', 'SHELL ["a"]', "WORKDIR /a b", "RUN a # b",
    "\x0c RUN q", "RUN é", "RUN <<E\\", "RUN $(( 1 << EOF )) <<<EOF",
)  # fmt: skip


def random_file(seed: int) -> str:
    source = random.Random(seed)
    first = [source.choice(["# escape=`", "# syntax=x"])] if source.random() < 0.2 else []
    lines = [*first, "FROM a", *(source.choice(PIECES) for _ in range(source.randint(1, 6)))]
    return "\n".join(lines) + source.choice(["", "\n", "\r\n"])


def shape(parsed: Dockerfile) -> list[tuple[object, ...]]:
    # The reference gives no here-documents of ONBUILD.
    return [
        (
            f"ONBUILD {one.keyword}" if one.onbuild else one.keyword, one.line, one.end_line, one.flags,
            one.words is not None, () if one.onbuild else tuple((h.name, h.content) for h in one.heredocs),
        )
        for one in parsed.instructions
    ]  # fmt: skip


def test_instructions_are_those_of_buildkit_s_parser() -> None:
    require(importlib.util.find_spec("dockerfile") is not None, "the package dockerfile")
    import dockerfile

    compared = 0
    for seed in range(8000):
        text = random_file(seed)
        try:
            own: object = shape(parse(text))
        except DockerfileError as exc:
            if "unknown instruction" in str(exc) or "without arguments" in str(exc):
                continue  # BuildKit refuses these only later, and so does the reference
            own = None
        try:
            reference: object = [
                (
                    f"ONBUILD {c.sub_cmd}".upper() if c.sub_cmd else c.cmd.upper(), c.start_line, c.end_line,
                    tuple(c.flags), c.json, () if c.sub_cmd else tuple((h.name, h.content) for h in c.heredocs),
                )
                for c in dockerfile.parse_string(text)
            ]  # fmt: skip
        except dockerfile.GoParseError:
            reference = None
        assert own == reference, text
        compared += 1
    assert compared > 5000


def test_line_continuations_comments_and_directives() -> None:
    parsed = parse(
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM a\nRUN one `\n  # no part of it\n\n  two\nCOPY c:\\x d\n"
    )
    assert [(one.keyword, one.line, one.end_line) for one in parsed.instructions] == [
        ("FROM", 3, 3), ("RUN", 4, 7), ("COPY", 8, 8),
    ]  # fmt: skip
    assert parsed.instructions[1].text.split() == ["one", "two"] and parsed.instructions[2].text == "c:\\x d"


def test_here_documents() -> None:
    parsed = parse("FROM a\nCOPY <<one <<-'two' /d/\n$A\none\n\t$B\n\ttwo\n")
    assert parsed.instructions[1].heredocs == (Heredoc("one", "$A\n", True), Heredoc("two", "\t$B\n", False))


def test_flags_and_the_json_form() -> None:
    parsed = parse(
        'FROM --platform=$P a\nRUN --mount=type=secret,id=x --network=none ["a", "b c"]\nCOPY --link --from=x a b\n'
    )
    run, copy = parsed.instructions[1:]
    assert run.flag("mount") == ("type=secret,id=x",) and run.words == ("a", "b c")
    assert copy.flag("from") == ("x",) and copy.flags[0] == "--link" and copy.text == "a b"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "no FROM"),
        ("# only\n\n", None, "no FROM"),
        ("ARG A=1\n", None, "no FROM"),
        ("RUN x\nFROM a\n", 1, "RUN before the first FROM"),
        ("FROM a\nRUM x\n", 2, "unknown instruction RUM; did you mean 'RUN'?"),
        ("FROM a\nfoo: bar\n", 2, "unknown instruction"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "here-document EOF without end"),
        ("FROM a\nCOPY\n", 2, "COPY without arguments"),
        ("FROM a\nONBUILD ONBUILD RUN x\n", 2, "ONBUILD needs an instruction"),
        ("FROM a\nONBUILD FROM b\n", 2, "ONBUILD needs an instruction"),
        ("# escape=x\nFROM a\n", None, "escape is 'x'"),
        ("# syntax=a\n# syntax=b\nFROM a\n", 2, "duplicate directive syntax"),
        ("FROM a\n" + "RUN x\n" * 5001, 5001, "more than 5000 instructions"),
    ],
)
def test_what_is_broken_names_file_and_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text, "Dockerfile")
    place = f"Dockerfile:{line}: " if line else "Dockerfile: "
    assert str(caught.value).startswith(place + message[:10]) and message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"FROM a\nRUN \xff\n", "Dockerfile:2: not text"),
        (b"FROM a\n\0", "Dockerfile:2: not text"),
        (b"#" * (MAX_BYTES + 1), "Dockerfile: larger than"),
    ],
)
def test_what_is_no_text_or_too_large_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "Dockerfile"
    path.write_bytes(data)
    with pytest.raises(DockerfileError) as caught:
        read_dockerfile(path)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


def test_settings_and_arguments() -> None:
    assert parse_assignments("A=1 B='two words' C=\"x \\\" y\" D=e\\ f") == [
        ("A", "1"), ("B", "two words"), ("C", 'x " y'), ("D", "e f"),
    ]  # fmt: skip
    assert parse_assignments("NAME some words") == [("NAME", "some words")]
    assert parse_arguments("A B=1 C=") == [("A", None), ("B", "1"), ("C", "")]
    assert unquote("'$A'\"b\"c") == "$Abc"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A-${A}-$B", "1-1-$B"),
        ("${B:-two}", "two"),
        ("${A:-two}", "1"),
        ("${A:+two}", "two"),
        ("${B:+two}", ""),
        ("\\$A", "\\$A"),
        ("$$A", "$1"),
        ("${A#x}", "${A#x}"),
        ("$E", "$E"),
    ],
)
def test_variables(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "E": None}) == result


def test_stages_variables_and_folders() -> None:
    graph = build_stage_graph(
        parse(
            "ARG V=3\nFROM a:$V AS one\nENV X=1\nWORKDIR /w\nARG V\nWORKDIR sub$V\nRUN x\nFROM one AS two\nRUN y\n"
            "FROM other\nCOPY --from=two /x /y\nFROM two\nCOPY --from=2 /z /\n"
        )
    )
    one, two, _, last = graph.stages
    assert (one.base, one.parent, two.parent, last.parent) == ("a:3", None, 0, 1)
    assert one.steps[-1].folder == "/w/sub3" and one.steps[-1].variables == {"X": "1", "V": "3"}
    assert two.steps[0].folder == "/w/sub3" and two.steps[0].variables == {"X": "1"}
    assert graph.chain == {0, 1, 3}
    assert [(use.stage, use.path) for use in graph.uses] == [(1, "/x"), (2, "/z")]


def test_the_commands_of_a_run() -> None:
    graph = build_stage_graph(
        parse(
            "FROM a\nWORKDIR /w\nRUN set -e; A=1 sudo rm -f 'x y' && cd /d && (curl u > out 2>&1 | tee log) || true\n"
        )
    )
    found = commands(graph.stages[0].steps[1])
    assert [(c.name, c.plain(), c.written, c.folder) for c in found] == [
        ("set", [], (), "/w"), ("rm", ["x y"], (), "/w"), ("cd", ["/d"], (), "/w"), ("curl", ["u"], ("/d/out",), "/d"),
        ("tee", ["log"], (), "/d"), ("true", [], (), "/d"),
    ]  # fmt: skip


HOSTILE = {
    "stages": "FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(4900)),
    "copies": "FROM a AS s0\nCOPY .env /x\n"
    + "".join(f"FROM b AS s{n + 1}\n" + f"COPY --from=s{n} /x /x\n" * 2 for n in range(1600)),
    "one line": "FROM a\nRUN " + "rm a$b; x=1 " * 80_000 + "\n",
    "removals": "FROM a\n" + "RUN touch a b c\nRUN rm -rf * ?? [a]\n" * 2400,
    "packages": "FROM a\n" + ("RUN apt-get install " + "p " * 90 + "\nRUN apt-get purge q\n") * 2400,
    "quotes": "FROM a\nENV " + "A=\"'" * 250_000 + "\n",
    "urls": "FROM a\nRUN " + "http://a:" * 100_000 + "\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_read_all_the_same(tmp_path: Path, scanner: Scanner, kind: str) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(HOSTILE[kind])
    assert all(problem.line for problem in check_file(path, scanner))
