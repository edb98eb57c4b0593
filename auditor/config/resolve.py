"""Merge config file and options; options win."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from auditor.config.file import ConfigFile
from auditor.core.options import HookOptions, O, updated

_NOTHING: Mapping[str, object] = MappingProxyType({})


def resolve(kind: type[O], config: ConfigFile, given: Mapping[str, object] = _NOTHING) -> O:
    """Return merged options: those given, else the config file's, else the defaults. Raises UsageError.

    `given` has options by their field in `kind`; None stands for an option that was not given.
    """
    from_file: dict[str, object] = {
        "min_confidence": config.min_confidence,
        "fail_on": config.fail_on,
        "exclude_paths": config.exclude.paths,
        "exclude_rules": config.exclude.rules,
        "exclude_images": config.exclude.images,
        "ignore": config.ignore,
        "baseline": config.baseline,
        "rules" if config.is_trusted else "untrusted_rules": config.rules,
        "rule_references": tuple(config.rule_references()),
        "limits": config.limits,
        "registries": config.registries,
        "owners": config.owners,
        "due": config.due or None,
        "untrusted_receivers": config.untrusted_receivers,
        "images": config.images,
        "dockerfiles": config.dockerfiles,
        "config": config.path,
    }
    if issubclass(kind, HookOptions):
        from_file["strict"] = config.strict_hook
    return updated(updated(kind(), from_file), given)
