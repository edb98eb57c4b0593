"""`.image-audit.yaml`: found upward from the working directory, every key checked. docs/configuration.md shows one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditor.errors import ConfigError

FILE_NAME = ".image-audit.yaml"
_KEYS = ("images", "dockerfiles", "fail_on", "min_confidence", "baseline", "registries", "exclude", "rules")
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What a config file says. Paths in it are relative to its folder."""

    path: Path | None = None
    images: tuple[str, ...] = ()
    dockerfiles: tuple[str, ...] = ()
    fail_on: str = "high"
    min_confidence: str = "medium"
    baseline: Path | None = None
    registries: Mapping[str, Any] = field(default_factory=dict)
    exclude_paths: tuple[str, ...] = ()
    exclude_rules: tuple[str, ...] = ()
    rules: tuple[Path, ...] = ()


def load_settings(path: Path | None, start: Path | None = None) -> Settings:
    """Read the file named, or the nearest one upward from `start`; without any, the defaults. Raises ConfigError."""
    found = path or _find(start or Path.cwd())
    if found is None:
        return Settings()
    import yaml

    try:
        data = found.read_bytes()[: _MAX_FILE + 1]
        raw = yaml.safe_load(data) if len(data) <= _MAX_FILE else None
    except OSError as exc:
        raise ConfigError(f"{found}: can't be read: {exc.strerror}") from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ConfigError(f"{found}: not YAML: {exc}") from None
    if not isinstance(raw, dict | None):
        raise ConfigError(f"{found}: want a mapping of keys")
    return _parse(raw or {}, found)


def _find(start: Path) -> Path | None:
    candidates = (folder / FILE_NAME for folder in (start, *start.parents))
    return next((path for path in candidates if path.is_file()), None)


def _parse(raw: dict[str, Any], path: Path) -> Settings:
    _known(raw, _KEYS, f"{path}")
    exclude = raw.get("exclude") or {}
    if not isinstance(exclude, dict):
        raise ConfigError(f"{path}: exclude: want the keys paths and rules")
    _known(exclude, ("paths", "rules"), f"{path}: exclude")
    registries = raw.get("registries") or {}
    if not isinstance(registries, dict):
        raise ConfigError(f"{path}: registries: want a mapping from HOST[/PREFIX] to settings")
    baseline = raw.get("baseline")
    return Settings(
        path,
        _texts(raw, "images", path),
        _texts(raw, "dockerfiles", path),
        _choice(raw, "fail_on", ("critical", "high", "medium", "low", "never"), "high", path),
        _choice(raw, "min_confidence", ("high", "medium", "low"), "medium", path),
        path.parent / str(baseline) if baseline else None,
        registries,
        _texts(exclude, "paths", path),
        _texts(exclude, "rules", path),
        tuple(path.parent / text for text in _texts(raw, "rules", path)),
    )


def _known(raw: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    from auditor.detect.rules import nearest

    for key in raw:
        if key not in keys:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(str(key), keys)}; known are {', '.join(keys)}")


def _texts(raw: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    value = raw.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{path}: {key}: want a list of texts")
    return tuple(value)


def _choice(raw: Mapping[str, Any], key: str, allowed: Sequence[str], default: str, path: Path) -> str:
    value = raw.get(key, default)
    if value not in allowed:
        raise ConfigError(f"{path}: {key} is {value!r}; want one of {', '.join(allowed)}")
    return str(value)
