"""`.image-audit.yaml`: found upward from the working directory, every key checked. docs/configuration.md shows one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.config.keys import below
from auditor.core.dataclass import dataclass
from auditor.core.limits import BY_NAME
from auditor.core.options import CONFIDENCES, FAIL_ON, Exclusions, IgnoreEntry, RegistryOptions, RuleReference

if TYPE_CHECKING:
    from auditor.core.finding import Severity
    from auditor.core.owner_options import OwnerOptions
    from auditor.core.yaml_file import YamlValue

FILE_NAME = ".image-audit.yaml"
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Values of a config file; paths are relative to the working directory, `images` are as written.

    `is_trusted` is set where the user named the file; a file found in the folder may come from somebody else. `lines`
    has the line of each key, such as `exclude.paths`.
    """

    path: Path | None = None
    is_trusted: bool = False
    images: tuple[str, ...] = ()
    dockerfiles: tuple[Path, ...] = ()
    fail_on: str | None = None
    min_confidence: str | None = None
    baseline: Path | None = None
    registries: Mapping[str, RegistryOptions] = field(default_factory=dict)
    owners: Mapping[str, OwnerOptions] = field(default_factory=dict)
    due: Mapping[Severity, int] = field(default_factory=dict)
    exclude: Exclusions = field(default_factory=Exclusions)
    ignore: tuple[IgnoreEntry, ...] = ()
    rules: tuple[Path, ...] = ()
    strict_hook: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def untrusted_receivers(self) -> Path | None:
        """The path of a file that names receivers of alerts, where the user did not name the file."""
        named = any(owner.notify or owner.ticket for owner in self.owners.values())
        return self.path if named and not self.is_trusted else None

    def rule_references(self) -> Iterator[RuleReference]:
        """Yield the rules that the file names, but for globs."""
        for rule in self.exclude.rules:
            yield RuleReference(f"{self.path}:{self.lines.get('exclude.rules')}: exclude.rules", rule)
        for item in self.ignore:
            if item.rule and not _GLOB & set(item.rule):
                yield RuleReference(f"{item.place}: rule", item.rule)
        for name, registry in self.registries.items():
            for rule in registry.exclude.rules:
                yield RuleReference(f"{self.path}: registries.{name}.exclude.rules", rule)


def load_config(path: Path | None = None, start: Path | None = None) -> ConfigFile:
    """Read the file at `path`, else the nearest one upward from `start`. Raises ConfigError.

    Without any file the result is empty.
    """
    found = path or _find(start or Path.cwd())
    if found is None:
        return ConfigFile()
    from auditor.core.yaml_file import load_yaml  # PyYAML takes 15 ms, which a run without a config file need not pay

    root = load_yaml(found)
    return _parse(root, found, path is not None) if root is not None else ConfigFile(found, path is not None)


def _find(start: Path) -> Path | None:
    candidates = (folder / FILE_NAME for folder in (start, *start.parents))
    found = next((path for path in candidates if path.is_file()), None)
    return None if found is None else Path(os.path.relpath(found))


def _parse(root: YamlValue, path: Path, is_trusted: bool) -> ConfigFile:
    keys = root.mapping(below())
    exclude = keys["exclude"].mapping(below("exclude")) if "exclude" in keys else {}
    due_keys = keys["due"].mapping(below("due")) if "due" in keys else {}
    hook = keys["hook"].mapping(below("hook")) if "hook" in keys else {}
    registries = keys["registries"].mapping() if "registries" in keys else {}
    owners, due = _owners(keys, path.parent) if {"owners", "due"} & keys.keys() else ({}, {})
    folder = path.parent
    return ConfigFile(
        path,
        is_trusted,
        _texts(keys, "images"),
        tuple(folder / text for text in _texts(keys, "dockerfiles")),
        keys["fail_on"].one_of(FAIL_ON) if "fail_on" in keys else None,
        keys["min_confidence"].one_of(CONFIDENCES) if "min_confidence" in keys else None,
        folder / keys["baseline"].text() if "baseline" in keys else None,
        {name: _registry(node) for name, node in registries.items()},
        owners,
        due,
        _exclude(exclude),
        tuple(_ignore(item) for item in keys["ignore"].items()) if "ignore" in keys else (),
        tuple(folder / text for text in _texts(keys, "rules")),
        hook["strict"].flag() if "strict" in hook else False,
        _limits(keys["limits"]) if "limits" in keys else {},
        {node.name: node.line for part in (keys, exclude, hook, due_keys) for node in part.values()},
    )


def _texts(keys: Mapping[str, YamlValue], key: str) -> tuple[str, ...]:
    return keys[key].texts() if key in keys else ()


def _exclude(keys: Mapping[str, YamlValue]) -> Exclusions:
    return Exclusions(_texts(keys, "paths"), _texts(keys, "rules"), _texts(keys, "images"))


def _registry(node: YamlValue) -> RegistryOptions:
    keys = node.mapping(below("registries.*"))
    exclude = keys["exclude"].mapping(below("registries.*.exclude")) if "exclude" in keys else {}
    newest = keys["newest"].count() if "newest" in keys else None
    return RegistryOptions(newest, _texts(keys, "repos"), _texts(keys, "tags"), _exclude(exclude))


def _owners(keys: Mapping[str, YamlValue], folder: Path) -> tuple[dict[str, OwnerOptions], Mapping[Severity, int]]:
    # Few files have owners, and every scan would pay for the import.
    from auditor.config.owners import parse_due, parse_owners

    owners = parse_owners(keys["owners"], folder) if "owners" in keys else {}
    return owners, parse_due(keys["due"]) if "due" in keys else {}


def _limits(node: YamlValue) -> dict[str, int]:
    """Return the limits in the file, by name."""
    found = {}
    for name, value in node.mapping(tuple(BY_NAME)).items():
        try:
            found[name] = BY_NAME[name].parse(str(value.scalar()))
        except ValueError as exc:
            value.fail(str(exc).partition(": ")[2])
    return found


def _ignore(node: YamlValue) -> IgnoreEntry:
    keys = node.mapping(below("ignore[]"))
    path, rule, image = (keys[key].text() if key in keys else None for key in ("path", "rule", "image"))
    if path is None and rule is None and image is None:
        node.fail("expected at least one of path, rule, image")
    reason = keys["reason"].text() if "reason" in keys else ""
    return IgnoreEntry(node.place, path, rule, image, reason, keys["expires"].date() if "expires" in keys else None)
