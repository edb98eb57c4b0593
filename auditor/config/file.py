"""`.image-audit.yaml`: found upward from the working directory, every key checked. docs/configuration.md shows one."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auditor.config.keys import below
from auditor.core.errors import ConfigError
from auditor.core.limits import BY_NAME
from auditor.core.yaml_file import Node, load
from auditor.findings.selection import Ignore

FILE_NAME = ".image-audit.yaml"
NEVER = "never"
FAIL_ON = ("critical", "high", "medium", "low", NEVER)
CONFIDENCES = ("high", "medium", "low")
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Exclude:
    """What is left out: paths by globs as in a .gitignore, rules by id, images by globs over their names."""

    paths: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """How a registry, or a part of it, is swept. `repos` and `tags` are globs; `newest` is a number a repository."""

    newest: int | None = None
    repos: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude: Exclude = field(default_factory=Exclude)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a config file says, made absolute where it names files; `images` stay as they are.

    `named` tells that the user named the file, and `lines` where each of its keys stands, as `exclude.paths`.
    """

    path: Path | None = None
    named: bool = False
    images: tuple[str, ...] = ()
    dockerfiles: tuple[Path, ...] = ()
    fail_on: str = "high"
    min_confidence: str = "medium"
    baseline: Path | None = None
    registries: Mapping[str, Registry] = field(default_factory=dict)
    exclude: Exclude = field(default_factory=Exclude)
    ignore: tuple[Ignore, ...] = ()
    rules: tuple[Path, ...] = ()
    strict_hook: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)


def load_settings(path: Path | None, start: Path | None = None) -> Settings:
    """Read the file named, or the nearest one upward from `start`; without any, the defaults. Raises ConfigError."""
    found = path or _find(start or Path.cwd())
    if found is None:
        return Settings()
    root = load(found)
    return _parse(root, found, path is not None) if root is not None else Settings(found, path is not None)


def _find(start: Path) -> Path | None:
    candidates = (folder / FILE_NAME for folder in (start, *start.parents))
    found = next((path for path in candidates if path.is_file()), None)
    return None if found is None else Path(os.path.relpath(found))


def _parse(root: Node, path: Path, named: bool) -> Settings:
    keys = root.mapping(below())
    exclude = keys["exclude"].mapping(below("exclude")) if "exclude" in keys else {}
    hook = keys["hook"].mapping(below("hook")) if "hook" in keys else {}
    registries = keys["registries"].mapping() if "registries" in keys else {}
    folder = path.parent
    return Settings(
        path,
        named,
        _texts(keys, "images"),
        tuple(folder / text for text in _texts(keys, "dockerfiles")),
        keys["fail_on"].one_of(FAIL_ON) if "fail_on" in keys else "high",
        keys["min_confidence"].one_of(CONFIDENCES) if "min_confidence" in keys else "medium",
        folder / keys["baseline"].text() if "baseline" in keys else None,
        {name: _registry(node) for name, node in registries.items()},
        _exclude(exclude),
        tuple(_ignore(item) for item in keys["ignore"].items()) if "ignore" in keys else (),
        tuple(folder / text for text in _texts(keys, "rules")),
        hook["strict"].flag() if "strict" in hook else False,
        _limits(keys["limits"]) if "limits" in keys else {},
        {node.name: node.line for part in (keys, exclude, hook) for node in part.values()},
    )


def _texts(keys: Mapping[str, Node], key: str) -> tuple[str, ...]:
    return keys[key].texts() if key in keys else ()


def _exclude(keys: Mapping[str, Node]) -> Exclude:
    return Exclude(_texts(keys, "paths"), _texts(keys, "rules"), _texts(keys, "images"))


def _registry(node: Node) -> Registry:
    keys = node.mapping(below("registries.*"))
    exclude = keys["exclude"].mapping(below("registries.*.exclude")) if "exclude" in keys else {}
    newest = keys["newest"].count() if "newest" in keys else None
    return Registry(newest, _texts(keys, "repos"), _texts(keys, "tags"), _exclude(exclude))


def _limits(node: Node) -> dict[str, int]:
    """Return the limits that are set, by name."""
    found = {}
    for name, value in node.mapping(tuple(BY_NAME)).items():
        try:
            found[name] = BY_NAME[name].parse(str(value.scalar()))
        except ValueError as exc:
            value.fail(str(exc).partition(": ")[2])
    return found


def _ignore(node: Node) -> Ignore:
    keys = node.mapping(below("ignore[]"))
    path, rule, image = (keys[key].text() if key in keys else None for key in ("path", "rule", "image"))
    if path is None and rule is None and image is None:
        node.fail("says nothing to ignore; want at least one of path, rule, image")
    reason = keys["reason"].text() if "reason" in keys else ""
    return Ignore(node.place, path, rule, image, reason, keys["expires"].date() if "expires" in keys else None)


def check_rules(settings: Settings, known: Collection[str]) -> None:
    """Raise ConfigError where the config leaves out or ignores a rule that there is not."""
    from auditor.core.text import nearest

    at = f"{settings.path}:{settings.lines.get('exclude.rules')}: exclude.rules"
    named = [(at, rule) for rule in settings.exclude.rules]
    named += [
        (f"{item.place}: rule", item.rule) for item in settings.ignore if item.rule and not _GLOB & set(item.rule)
    ]
    for name, registry in settings.registries.items():
        named += [(f"{settings.path}: registries.{name}.exclude.rules", rule) for rule in registry.exclude.rules]
    for place, rule in named:
        if rule not in known:
            raise ConfigError(f"{place}: no rule {rule!r}{nearest(rule, known)}; `image-audit rules list` shows all")
