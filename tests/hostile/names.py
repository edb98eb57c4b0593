"""Texts of an image that a terminal, a browser, a spreadsheet, a template or a log would act on."""

from __future__ import annotations

from tests.hostile.case import Case, image_of
from tests.images import Item, file, image, layer, step, token

NAMES = (
    "line\nbreak", "tab\tin\rit", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example/\x07link\x1b]8;;\x07",
    "\x1bP+q544e\x1b\\", "\x9b31mC1", "back\x08\x08\x08space", "\u202eright-to-left\u202c", "\u2066isolate\u2069",
    "zero\u200bwidth", "\ufeffmark", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "'><svg/onload=alert(1)>", "]]><b/>", "<!--", "&amp;&#60;b&#62;", "javascript:alert(1)", "[x](javascript:alert(1))",
    "![x](http://evil.example/pixel)", "| a | b |", "`code`", "```", "@everyone", "#1", "=cmd|' /C calc'!A0",
    "+SUM(1+1)", "@SUM(1)", "{{7*7}}", "${7*7}", "<%= 7*7 %>", "{% raw %}", "#{7*7}", "$(id)", "`id`", "; id", "-rf",
    "--help", "%s%s%n", "%00", "a\\b", "::error::planted", "##vso[task.setvariable]x", "##[error]planted",
    "sect\nion_start:0:x\r\x1b[0K", "\udcff\udcfe", "[red]markup[/red]", "[link=http://evil.example]x[/link]",
    "nbsp\u00a0",
    "\U000e0001tag", "\ud7ff\ue000", "e\u0301" * 50,
)  # fmt: skip


def planted() -> tuple[Item, ...]:
    """A file of each name, with a secret in it, so that the name stands in a finding."""
    return tuple(
        file(
            f"{number}/{name.replace('/', '_')}",
            f"{name}\ntoken = {token(number)}\n".encode("utf-8", "surrogateescape"),
        )
        for number, name in enumerate(NAMES)
    )


_CLEAN = [name.encode("utf-8", "backslashreplace").decode() for name in NAMES]
HOSTILE_NAMES = image(
    layer(*planted()),
    history=[step(f"RUN {' '.join(_CLEAN)} {token(900)}", comment=_CLEAN[2])],
    config={
        "Env": [f"{name}={token(1000 + number)}" for number, name in enumerate(_CLEAN)],
        "Labels": {name: f"{name} {token(2000 + number)}" for number, name in enumerate(_CLEAN)},
        "Cmd": _CLEAN,
    },
    names=("a:1", *_CLEAN),
    architecture="\x1b[31m<b>",
)

CASES = (
    Case("names that act", lambda folder: str(HOSTILE_NAMES.docker_archive(folder / "image.tar")), 1, "", 200),
    Case("a name with a zero byte", image_of(layer(file("x", token(1), pax={"path": "a\0b"}))), 1),
    Case("a name of nothing", image_of(layer(file("x", token(1), pax={"path": "/"}))), 1),
    Case(
        "a name of a megabyte", image_of(layer(file("x", "x", pax={"path": "n" * 1_000_000}))), 2, "(limit path-length)"
    ),
)
