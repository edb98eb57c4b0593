"""Options of audits and the hook: frozen values, merged by `config.resolve`.

    AuditOptions       every audit
    ├── FlattenOptions `flatten`, in core/command_options.py
    ├── SweepOptions   `registry scan`, there too
    │   └── WatchOptions   `registry watch`, there too
    └── HookOptions    `hook run`

The name of a field is the keyword of the Python API and the parameter of the command line; its type decides how
`updated` parses a given value. A new option is a field here, an option of a command, and its use.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from auditor.core.cache_folder import cache_folder
from auditor.core.dataclass import dataclass
from auditor.core.errors import UsageError
from auditor.core.finding import Confidence, Severity, State
from auditor.core.limits import BY_NAME, Limits
from auditor.core.process import usable_cores
from auditor.core.text import nearest

NEVER = "never"
FAIL_ON = (*(severity.value for severity in Severity), NEVER)
CONFIDENCES = tuple(confidence.value for confidence in Confidence)

O = TypeVar("O", bound="AuditOptions")  # noqa: E741 - the type of options


@dataclass(frozen=True, slots=True)
class IgnoreEntry:
    """An entry under `ignore` in the config file. It applies to findings that match every given key.

    `path` is a glob as in a .gitignore, `rule` and `image` are globs over ids and names. `place` is its `file:line`.
    """

    place: str
    path: str | None = None
    rule: str | None = None
    image: str | None = None
    reason: str = ""
    expires: datetime.date | None = None

    def has_expired(self, today: datetime.date) -> bool:
        """Whether its last day is over."""
        return self.expires is not None and self.expires < today


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Findings to leave out: paths by globs as in a .gitignore, rules by id, images by globs over their names."""

    paths: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Options of a registry, or a part of it, in the config file. `newest` is a number of tags per repository."""

    newest: int | None = None
    repos: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude: Exclusions = field(default_factory=Exclusions)


@dataclass(frozen=True, slots=True)
class RuleReference:
    """A rule that the config file names, with the place of the name there."""

    place: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """Merged options of an audit. Lists from the config file come before those of the command line or API.

    `untrusted_rules` come from a config file that the user did not name: their `verify` requests are removed.
    `fail_on` None stands for `never`.
    """

    platform: str | None = None
    base: str | None = None
    insecure: bool = False
    states: frozenset[State] = frozenset(State)
    min_confidence: Confidence = Confidence.MEDIUM
    fail_on: Severity | None = Severity.HIGH
    exclude_paths: tuple[str, ...] = ()
    exclude_rules: tuple[str, ...] = ()
    exclude_images: tuple[str, ...] = ()
    ignore: tuple[IgnoreEntry, ...] = ()
    baseline: Path | None = None
    dockerfile: Path | None = None
    rules: tuple[Path, ...] = ()
    untrusted_rules: tuple[Path, ...] = ()
    only_rules: tuple[str, ...] = ()
    rule_references: tuple[RuleReference, ...] = ()
    limits: Limits = field(default_factory=Limits)
    jobs: int = field(default_factory=usable_cores)
    memory: int | None = None
    cache: bool = True
    cache_dir: Path = field(default_factory=cache_folder)
    cache_size: int | None = None
    verify: bool = False
    show_secrets: bool = False
    strict: bool = False
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOptions(AuditOptions):
    """Options of the git hook: images and Dockerfiles of the config file. `strict` stops a push for missing ones."""

    config: Path | None = None
    images: tuple[str, ...] = ()
    dockerfiles: tuple[Path, ...] = ()


def updated(options: O, given: Mapping[str, object]) -> O:
    """Return options with the given values, parsed by the fields' types. None leaves a value. Raises UsageError."""
    changes: dict[str, Any] = {}
    for item in fields(options):
        value = given.get(item.name)
        if value is not None:
            parse = _PARSERS.get(str(item.type), _unchanged)
            changes[item.name] = parse(item.name, value, getattr(options, item.name))
    return replace(options, **changes)


def _unchanged(_: str, value: object, before: object) -> object:  # noqa: ARG001 - a parser
    return value


def _text(name: str, value: object, _: object) -> str:
    if not isinstance(value, str):
        raise _mistyped(name, value, "a text")
    return value


def _flag(name: str, value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise _mistyped(name, value, "True or False")
    return value


def _integer(name: str, value: object, _: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mistyped(name, value, "a whole number")
    return value


def _decimal(name: str, value: object, _: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _mistyped(name, value, "a number")
    return float(value)


def _age(name: str, value: object, _: object) -> datetime.timedelta:
    if not isinstance(value, datetime.timedelta):
        raise _mistyped(name, value, "a timedelta")
    return value


def _path(name: str, value: object, _: object) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise _mistyped(name, value, "a path")
    return Path(value)


def _more_texts(name: str, value: object, before: tuple[str, ...]) -> tuple[str, ...]:
    return (*before, *(_text(name, item, None) for item in _items(value)))


def _more_paths(name: str, value: object, before: tuple[Path, ...]) -> tuple[Path, ...]:
    return (*before, *(_path(name, item, None) for item in _items(value)))


def _confidence(name: str, value: object, _: object) -> Confidence:
    return Confidence(one_of(name, value, CONFIDENCES))


def _fail_on(name: str, value: object, _: object) -> Severity | None:
    word = one_of(name, value, FAIL_ON)
    return None if word == NEVER else Severity(word)


def _states(name: str, value: object, before: frozenset[State]) -> frozenset[State]:
    return frozenset(State(one_of(name, item, tuple(State))) for item in _items(value)) or before


def _limits(name: str, value: object, before: Limits) -> Limits:
    """Take limits by name, as a mapping or as pairs."""
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise _mistyped(name, value, "limits by name")
    changes = {}
    for limit, text in value.items() if isinstance(value, Mapping) else value:
        try:
            row = BY_NAME[one_of(name, limit, tuple(BY_NAME))]
            changes[row.attribute] = row.parse(str(text))
        except ValueError as exc:
            raise UsageError(f"{name}: {exc}") from None
    return replace(before, **changes)


_PARSERS: Mapping[str, Callable[[str, object, Any], object]] = {
    "str": _text,
    "str | None": _text,
    "bool": _flag,
    "int": _integer,
    "int | None": _integer,
    "float | None": _decimal,
    "datetime.timedelta | None": _age,
    "Path": _path,
    "Path | None": _path,
    "tuple[str, ...]": _more_texts,
    "tuple[Path, ...]": _more_paths,
    "Confidence": _confidence,
    "Severity | None": _fail_on,
    "frozenset[State]": _states,
    "Limits": _limits,
}
"""Parsers by the type of a field. Each takes the option's name, the given value, and the value so far.

A field of another type is set by the config file alone, which has checked it.
"""


def one_of(name: str, value: object, known: Sequence[str]) -> str:
    """Return a word of a fixed set. Raises UsageError, with the nearest word."""
    if value not in known:
        raise UsageError(f"{name} {value!r:.100}: expected one of {', '.join(known)}{nearest(str(value), known)}")
    return str(value)


def _items(value: object) -> Iterable[object]:
    """Return the items of a list; a text or a path counts as a list of one."""
    return (value,) if isinstance(value, str | os.PathLike) or not isinstance(value, Iterable) else value


def _mistyped(name: str, value: object, expected: str) -> UsageError:
    return UsageError(f"{name} {value!r:.100}: expected {expected}")
