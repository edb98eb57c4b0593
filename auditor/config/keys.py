"""Keys of `.image-audit.yaml`, with value, default and meaning: the parser accepts these, the docs list them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """In `name`, `*` stands for a name of the user's, and `[]` for each item of a list."""

    name: str
    takes: str
    default: str
    meaning: str


KEYS = (
    Key("images", "image names", "", "what the pre-push hook audits; `*`, `?` and `[…]` stand for all tags that fit"),
    Key("dockerfiles", "paths", "", "the Dockerfiles that the hook checks"),
    Key(
        "fail_on",
        "`critical`, `high`, `medium`, `low`, `never`",
        "high",
        "exit with 1 on a finding at least that severe",
    ),
    Key("min_confidence", "`high`, `medium`, `low`", "medium", "leave out what is less sure"),
    Key("baseline", "a path", "", "findings that are known and accepted, and not shown"),
    Key("registries.*.newest", "a number from 1", "", "of each repository the tags whose images were made last"),
    Key("registries.*.repos", "globs", "", "only these repositories"),
    Key("registries.*.tags", "globs", "", "only these tags"),
    Key("registries.*.exclude.paths", "globs", "", "as `exclude.paths`, for this registry"),
    Key("registries.*.exclude.rules", "ids of rules", "", "as `exclude.rules`, for this registry"),
    Key("registries.*.exclude.images", "globs", "", "as `exclude.images`, for this registry"),
    Key("exclude.paths", "globs as in a .gitignore", "", "files to leave out, by their absolute paths in the image"),
    Key("exclude.rules", "ids of rules", "", "rules whose findings are left out"),
    Key("exclude.images", "globs", "", "images whose findings are left out, by their names with or without tag"),
    Key("ignore[].path", "a glob as in a .gitignore", "", "ignore findings in these files"),
    Key("ignore[].rule", "a glob", "", "ignore findings of these rules, by id"),
    Key("ignore[].image", "a glob", "", "ignore findings in these images, by name"),
    Key("ignore[].reason", "a text", "", "why; for the reader"),
    Key("ignore[].expires", "a date, as 2027-06-30", "", "the last day on which it ignores"),
    Key("rules", "paths", "", "files or folders of rules, added to the built-in ones"),
    Key(
        "limits.*",
        "as `--limit`",
        "",
        "how much of an image is read; the names are those of [limits](security.md#limits)",
    ),
    Key("hook.strict", "`true`, `false`", "false", "stop a push too where an image is not there or not read in full"),
)


def below(parent: str = "") -> tuple[str, ...]:
    """Return the names of the keys right below another, as `registries.*`; without one, of the top level."""
    prefix = f"{parent}." if parent else ""
    rests = (key.name.removeprefix(prefix) for key in KEYS if key.name.startswith(prefix))
    return tuple(dict.fromkeys(rest.partition(".")[0].removesuffix("[]") for rest in rests))
