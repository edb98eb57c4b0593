"""Keys of `.image-audit.yaml`, with value, default and meaning: the parser accepts these, the docs list them."""

from __future__ import annotations

from auditor.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """Key of the config file. In `name`, `*` stands for a name that the user chooses, `[]` for each item of a list."""

    name: str
    takes: str
    default: str
    meaning: str


KEYS = (
    Key("images", "image names", "", "images that the pre-push hook audits; globs with `*`, `?` and `[…]` match tags"),
    Key("dockerfiles", "paths", "", "Dockerfiles that the hook checks"),
    Key(
        "fail_on",
        "`critical`, `high`, `medium`, `low`, `never`",
        "high",
        "exit with 1 on a finding of this severity or above",
    ),
    Key("min_confidence", "`high`, `medium`, `low`", "medium", "leave out findings below this confidence"),
    Key("baseline", "a path", "", "file of accepted findings, which are not shown"),
    Key("registries.*.newest", "a number from 1", "", "only the tags of each repository with the newest images"),
    Key("registries.*.repos", "globs", "", "only matching repositories"),
    Key("registries.*.tags", "globs", "", "only matching tags"),
    Key("registries.*.exclude.paths", "globs", "", "as `exclude.paths`, for this registry"),
    Key("registries.*.exclude.rules", "ids of rules", "", "as `exclude.rules`, for this registry"),
    Key("registries.*.exclude.images", "globs", "", "as `exclude.images`, for this registry"),
    Key(
        "owners.*.team",
        "a name, not `no owner`",
        "",
        "team that owns the repositories that match the glob; the longest glob applies",
    ),
    Key("owners.*.notify", "URLs, or `$NAME`", "", "receivers of alerts of these repositories, as for `--notify`"),
    Key("owners.*.ticket.url", "a URL, or `$NAME`", "", "receives one POST per new secret of these repositories"),
    Key(
        "owners.*.ticket.template",
        "`jira`, `github`, a path",
        "",
        "form of the POST, `github` by default, or a Jinja2 template of it",
    ),
    Key("owners.*.ticket.project", "a text", "", "key of the Jira project"),
    Key(
        "owners.*.ticket.token", "a text, or `$NAME`", "", "bearer token; the URL may have a user and password instead"
    ),
    Key(
        "due.critical",
        "a number of days, at most 3650",
        "1",
        "days from the first sight of a secret to its due date, by severity",
    ),
    Key("due.high", "a number of days, at most 3650", "7", "the same"),
    Key("due.medium", "a number of days, at most 3650", "30", "the same"),
    Key("due.low", "a number of days, at most 3650", "90", "the same"),
    Key("exclude.paths", "globs as in a .gitignore", "", "leave out files, by absolute paths in the image"),
    Key("exclude.rules", "ids of rules", "", "leave out findings of these rules"),
    Key("exclude.images", "globs", "", "leave out findings of images with matching names, with or without tag"),
    Key("ignore[].path", "a glob as in a .gitignore", "", "ignore findings in these files"),
    Key("ignore[].rule", "a glob", "", "ignore findings of these rules, by id"),
    Key("ignore[].image", "a glob", "", "ignore findings in these images, by name"),
    Key("ignore[].reason", "a text", "", "reason, for the reader"),
    Key("ignore[].expires", "a date, such as 2027-06-30", "", "last day of the entry"),
    Key("rules", "paths", "", "files or folders of rules to add to the built-in ones"),
    Key(
        "limits.*",
        "as `--limit`",
        "",
        "limits, by the names in [security](security.md#limits)",
    ),
    Key("hook.strict", "`true`, `false`", "false", "stop a push also for missing images and unread parts"),
)


def below(parent: str = "") -> tuple[str, ...]:
    """Return the names of the keys directly below a parent such as `registries.*`, by default of the top level."""
    prefix = f"{parent}." if parent else ""
    rests = (key.name.removeprefix(prefix) for key in KEYS if key.name.startswith(prefix))
    return tuple(dict.fromkeys(rest.partition(".")[0].removesuffix("[]") for rest in rests))
