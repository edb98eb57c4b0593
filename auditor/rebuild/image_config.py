"""Config of a rewritten image: equal except for layers, history, and settings that the user drops."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auditor.codec.hashing import sha256
from auditor.core.dataclass import dataclass
from auditor.core.digests import DiffID
from auditor.core.errors import UsageError
from auditor.pipeline import Audit
from auditor.rebuild.operations import ExciseLayer, KeepLayer, LayerPlan, MergeLayers, count_kept_layers
from auditor.scan import Scanner
from auditor.scan.masker import masked_text

CREATED_BY = "image-audit flatten"
_ROUNDS = 5
_SHORTEST = 6  # shorter secrets are part of many harmless words
_STALE = ("moby.buildkit.buildinfo.v1", "moby.buildkit.cache.v0")


@dataclass(frozen=True, slots=True)
class DroppedSettings:
    """Names of environment variables and labels to remove from the config."""

    env: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class HistoryMasker:
    """Mask for secrets in texts: matches of the rules, and all secrets that the audit of the image found."""

    def __init__(self, scanner: Scanner, audit: Audit) -> None:
        self._scanner = scanner
        secrets = {f.secret for f in audit.findings if len(f.secret.reveal()) >= _SHORTEST}
        self._known = sorted(secrets, key=lambda secret: (-len(secret.reveal()), secret.reveal()))

    def text(self, value: str) -> str:
        """Return a text with its secrets masked; a text that still matches a rule afterwards becomes `(masked)`."""
        value = value[: self._scanner.limits.text_bytes]
        for secret in self._known:
            value = value.replace(secret.reveal(), secret.masked)
        for _ in range(_ROUNDS):
            found = self._scanner.searcher.search_text(value)
            if not found:
                return value
            value = masked_text(value, found)
        return "(masked)" if self._scanner.searcher.search_text(value) else value

    def tree(self, value: Any) -> Any:
        """Mask all texts of a JSON value except keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.tree(item) for item in value]
        return {key: self.tree(item) for key, item in value.items()} if isinstance(value, dict) else value


def rewritten_config(
    audit: Audit,
    plans: Sequence[LayerPlan],
    diff_ids: Iterable[DiffID],
    drops: DroppedSettings,
    masker: HistoryMasker,
) -> bytes:
    """Return the new config; equal input gives equal bytes. Raises UsageError for an unknown name to drop."""
    old = audit.image.config.raw
    raw = copy.deepcopy({key: value for key, value in old.items() if key not in stale_keys(old, plans)})
    raw["rootfs"] = {**(raw.get("rootfs") or {}), "type": "layers", "diff_ids": list(diff_ids)}
    if "history" in raw or any(isinstance(plan, MergeLayers) for plan in plans):
        raw["history"] = _history(audit, plans, masker)
    for key in ("author", "comment"):
        if key in raw:
            raw[key] = masker.tree(raw[key])
    for key in ("config", "container_config"):  # engines before 2023 wrote container_config too
        if isinstance(raw.get(key), dict):
            raw[key] = _dropped(raw[key], drops)
    if isinstance(raw.get("container_config"), dict) and raw["container_config"].get("Cmd"):
        raw["container_config"]["Cmd"] = masker.tree(raw["container_config"]["Cmd"])  # repeats the last step
    _require_names(audit, drops)
    return _unchanged_bytes(raw, audit) or json.dumps(raw, separators=(",", ":")).encode()


def _unchanged_bytes(raw: Mapping[str, Any], audit: Audit) -> bytes | None:
    """Return the original bytes of an unchanged config, where a known JSON encoding gives the image's ID."""
    if raw != audit.image.config.raw:
        return None
    for separators in ((",", ":"), (", ", ": ")):
        for plain in (True, False):
            text = json.dumps(raw, separators=separators, ensure_ascii=plain)
            go = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
            for candidate in (go, text):  # Go's encoder escapes HTML
                data = candidate.encode("utf-8", "replace")
                if sha256(data) == audit.image.id:
                    return data
    return None


def stale_keys(raw: Mapping[str, Any], plans: Sequence[LayerPlan]) -> list[str]:
    """Return the builders' own config keys that describe the old layers or build arguments.

    They are dropped if any layer is rewritten.
    """
    return [key for key in _STALE if key in raw and count_kept_layers(plans) < len(plans)]


def _history(audit: Audit, plans: Sequence[LayerPlan], masker: HistoryMasker) -> list[Any]:
    steps = [masker.tree(step) for step in audit.image.config.raw.get("history") or [] if isinstance(step, dict)]
    merged = next((plan for plan in plans if isinstance(plan, MergeLayers)), None)
    if merged is None:
        return steps
    if merged.lowest == 0:
        return [_flatten_step(audit)]
    layers = audit.step_layers
    if all(layer is None for layer in layers):
        return [_flatten_step(audit) for _ in plans]
    last = max(at for at, layer in enumerate(layers) if layer is not None)
    for at, layer in enumerate(layers):
        if layer is not None and layer >= merged.lowest and at != last:
            steps[at]["empty_layer"] = True
    return steps


def _flatten_step(audit: Audit) -> dict[str, Any]:
    created = audit.image.config.raw.get("created")
    return {**({"created": created} if isinstance(created, str) else {}), "created_by": CREATED_BY}


def _dropped(config: dict[str, Any], drops: DroppedSettings) -> dict[str, Any]:
    if isinstance(config.get("Env"), list):
        config["Env"] = [item for item in config["Env"] if str(item).partition("=")[0] not in drops.env]
    if isinstance(config.get("Labels"), dict):
        config["Labels"] = {key: value for key, value in config["Labels"].items() if key not in drops.labels}
    return config


def _require_names(audit: Audit, drops: DroppedSettings) -> None:
    own = audit.image.config.raw.get("config") or {}
    have_env = {str(item).partition("=")[0] for item in own.get("Env") or []}
    for option, names, known in (
        ("--drop-env", drops.env, have_env),
        ("--drop-label", drops.labels, set(own.get("Labels") or {})),
    ):
        for name in names:
            if name not in known:
                have = ", ".join(sorted(known)) or "none"
                raise UsageError(f"{option} {name}: not in the config of the image, which has {have}")


def touches_base(audit: Audit, plans: Sequence[LayerPlan]) -> bool:
    """Whether a layer of the base image is rewritten; of an unknown base, whether any layer is."""
    count = audit.base.layers if audit.base else len(audit.image.layers)
    for plan in plans:
        match plan:
            case MergeLayers(lowest) if lowest < count:
                return True
            case ExciseLayer(number) if number < count:
                return True
            case KeepLayer() | MergeLayers() | ExciseLayer():
                continue
    return False
