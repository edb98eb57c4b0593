"""The action plan of an image as numbered steps of text, shared by the formats for readers. Texts are safe to print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from auditor.advice.action_plan import BuildFix, action_plan
from auditor.advice.flatten_advice import FlattenAdvice, FlattenPlan
from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.core.limits import Limits
from auditor.core.text import plural, printable, size
from auditor.findings.secret_groups import SecretGroup, Verdict, verdict
from auditor.pipeline import Audit
from auditor.report.finding_text import secret_text, step_text


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One line of a step: a text, a page to open, a command to run, a remedy; the last three may be missing."""

    text: str
    url: str | None = None
    command: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One numbered step."""

    title: str
    items: tuple[PlanItem, ...]


@dataclass(frozen=True, slots=True)
class PackageSecrets:
    """Secrets in unmodified files of one package."""

    name: str
    severity: Severity
    counts: Verdict

    @property
    def text(self) -> str:
        """Line of a report: `dpkg ssl-cert 1.1: 2 secrets at 3 places, at most high`."""
        secrets, places = plural(self.counts.secrets, "secret"), plural(self.counts.places, "place")
        return f"{self.name}: {secrets} at {places}, severity up to {self.severity}"


def plan_steps(audit: Audit, groups: Sequence[SecretGroup], show_secrets: bool) -> tuple[PlanStep, ...]:
    """Return the steps that apply to an image, in the order in which to take them."""
    plan = action_plan(audit.image, groups, audit.flatten)
    steps = [
        PlanStep(
            f"Revoke {plural(len(plan.revoke), 'secret')}. Anyone who can pull the image can read "
            f"{'it' if len(plan.revoke) == 1 else 'them'}.",
            tuple(_revoke_items(plan.revoke, show_secrets)),
        ),
        PlanStep("Fix the build.", tuple(_fix_items(plan.fixes, audit.limits))),
        *([_flatten_step(plan.flatten, audit.flatten, groups)] if plan.flatten else []),
        PlanStep(
            "Remove what still holds the secrets.",
            tuple(PlanItem(printable(copy.name), command=printable(copy.command)) for copy in plan.copies),
        ),
    ]
    return tuple(step for step in steps if step.items)


def _revoke_items(groups: Iterable[SecretGroup], show_secrets: bool) -> Iterator[PlanItem]:
    """Yield each kind of secret once, with its secrets and the page that revokes them."""
    kinds: dict[tuple[str, str | None], list[str]] = {}
    for group in groups:
        kinds.setdefault((group.first.name, group.revoke), []).append(secret_text(group.first, show_secrets))
    for (name, url), secrets in kinds.items():
        yield PlanItem(f"{printable(name)} {', '.join(secrets)}", url=url)


def _fix_items(fixes: Iterable[BuildFix], limits: Limits) -> Iterator[PlanItem]:
    """Yield the steps with the same remedy together, the remedy with the last one."""
    groups: dict[tuple[str, ...], list[BuildFix]] = {}
    for fix in fixes:
        groups.setdefault(fix.remedies, []).append(fix)
    for remedies, own in groups.items():
        *texts, last = (_fix_text(fix, limits) for fix in own)
        yield from map(PlanItem, texts)
        yield PlanItem(last, remedy=printable(" ".join(remedies)))


def _fix_text(fix: BuildFix, limits: Limits) -> str:
    place = "metadata" if fix.layer is None else f"layer {fix.layer}"
    if fix.source:
        place = printable(f"{fix.source.file}:{fix.source.line}")
    step = step_text(fix.step, limits)
    more = f" and {plural(fix.steps - 1, 'more step')}" if fix.steps > 1 else ""
    return f"{place}{f': {step}' if step else ''}{more}"


def _flatten_step(plan: FlattenPlan, advice: FlattenAdvice, groups: Iterable[SecretGroup]) -> PlanStep:
    hidden = sum(group.is_recoverable for group in groups)
    removes = f" to remove {plural(hidden, 'hidden secret')}" if hidden else ""
    return PlanStep(
        f"Flatten the image{removes}: {size(advice.size_before)} -> {size(plan.size_after)}.",
        (PlanItem(f"{plan.layers_kept} of {advice.layers_before} layers kept", command=printable(plan.command)),),
    )


def package_secrets(groups: Iterable[SecretGroup]) -> Iterator[PackageSecrets]:
    """Fold the secrets in unmodified package files: yield one value a package, those with most secrets first."""
    found: dict[str, list[SecretGroup]] = {}
    for group in groups:
        if package := group.published_in:
            name = printable(f"{package.manager} {package.name} {package.version}")
            found.setdefault(name, []).append(group)
    for name, own in sorted(found.items(), key=lambda item: -len(item[1])):
        yield PackageSecrets(name, own[0].severity, verdict(own, None))
