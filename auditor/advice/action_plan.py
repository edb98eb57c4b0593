"""Steps against the leaks of one image, in the order in which to take them.

    1. revoke    each secret once, with the page to do it on
    2. fix       the build steps that added them
    3. flatten   the recommended method, with its command
    4. copies    other names of the image, and its containers

Secrets in unmodified files of packages are left out of 1 and 2: their publisher has to act.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from auditor.advice.flatten_advice import FlattenAdvice, FlattenPlan
from auditor.advice.remedy import build_fix
from auditor.core.dataclass import dataclass
from auditor.core.finding import Finding, SourceLine
from auditor.findings.secret_groups import SecretGroup, in_history
from auditor.images.source import Image, short_names
from auditor.images.transports import TRANSPORTS


@dataclass(frozen=True, slots=True)
class BuildFix:
    """A build step that added secrets, and its remedies. `step` is its masked text, None if unknown.

    `layer` is None for metadata of no layer. `secrets` are the ids of the secrets, most urgent first. `steps` is the
    number of steps with the same secrets in their text: a build argument is in the history of each later step.
    """

    layer: int | None
    step: str | None
    source: SourceLine | None
    inherited: bool
    secrets: tuple[str, ...]
    remedies: tuple[str, ...]
    steps: int = 1


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """A holder of the leaking layers, with the command that removes it, or that lists more of them."""

    name: str
    command: str


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """Steps of one image; all are empty for an image without secrets or waste."""

    revoke: tuple[SecretGroup, ...]
    fixes: tuple[BuildFix, ...]
    flatten: FlattenPlan | None
    copies: tuple[ImageCopy, ...]


def action_plan(image: Image, groups: Sequence[SecretGroup], flatten: FlattenAdvice) -> ActionPlan:
    """Return the steps for an image; `image` has masked names."""
    own = tuple(group for group in groups if group.published_in is None)
    recommended = flatten.plans[0] if flatten.recommended else None
    recoverable = any(group.is_recoverable for group in groups)
    return ActionPlan(own, tuple(_fixes(own)), recommended, tuple(_copies(image)) if recoverable else ())


def _fixes(groups: Iterable[SecretGroup]) -> Iterable[BuildFix]:
    """Yield each build step once, those of the most urgent secrets first."""
    found: dict[tuple[int | None, str | None], list[Finding]] = {}
    for group in groups:
        in_steps = [finding for finding in group.findings if in_history(finding)]
        for finding in group.findings:
            step = in_steps[0] if finding in in_steps else finding
            found.setdefault((step.added_in, step.added_by), []).append(finding)
    for (layer, step_text), findings in found.items():
        yield BuildFix(
            layer,
            step_text,
            next((finding.source for finding in findings if finding.source), None),
            findings[0].inherited,
            tuple(dict.fromkeys(finding.secret_id for finding in findings)),
            tuple(dict.fromkeys(build_fix(finding) for finding in findings)),
            max(len({finding.where for finding in findings if in_history(finding)}), 1),
        )


def _copies(image: Image) -> Iterable[ImageCopy]:
    """Yield the references to the leaking layers: the target, its other names, its containers, other tags."""
    row = TRANSPORTS[image.transport]
    target = row.bare(image.target)
    names = [name for name in short_names(image.names) if "/" in name or ":" in name]  # a layout may have bare tags
    if row.in_registry:
        repository = target.partition("@")[0].rpartition("/")
        name = f"{repository[0]}/{repository[2].partition(':')[0]}"
        yield ImageCopy("this tag, in the registry", shlex.join(["skopeo", "delete", image.target]))
        yield ImageCopy("other tags with these layers", shlex.join(["image-audit", "registry", "scan", name]))
    elif row.is_container:
        yield ImageCopy("the container", shlex.join(["docker", "rm", target]))
    elif row.in_engine:
        for name in short_names((target, *names)):
            if name != f"{target}:latest":
                yield ImageCopy(name, shlex.join(["docker", "rmi", name]))
        yield ImageCopy("its containers", shlex.join(["docker", "ps", "-a", "--filter", f"ancestor={target}"]))
    elif target != "-":
        yield ImageCopy("the archive", shlex.join(["rm", "-r", target] if row.file_ending is None else ["rm", target]))
        for name in names:
            yield ImageCopy(f"{name}, where it was loaded", shlex.join(["docker", "rmi", name]))
