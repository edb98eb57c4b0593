"""The lab: an image with secrets of every rule and with decoys, and the comparison of what was found with it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from auditor.core.finding import Confidence, Finding, State
from auditor.core.package_data import data_path
from auditor.detect.rule_files import rule_files
from auditor.pipeline import Audit
from bench.decoys import decoys
from bench.dialects import Dialect, dialects
from bench.formats import Format, format_files
from bench.metadata import Metadata
from bench.plants import Plant, near_misses, plants
from bench.repository import repository
from bench.risky import Risky, risky_files
from bench.ways import REPOSITORIES
from tests.images import Item, image, layer, step, whiteout

_HIDDEN = (State.DELETED, State.OVERWRITTEN)
_MISSES = "srv/near/"


@dataclass(frozen=True, slots=True)
class Lab:
    """What is planted. Layer 0 is the base with the decoys, layer 1 adds every secret, layer 2 hides some."""

    plants: Sequence[Plant]
    misses: Sequence[Plant]
    risky: Sequence[Risky]
    formats: Sequence[Format]
    dialects: Mapping[str, Dialect]
    """By path."""
    files: dict[str, bytes]
    """An OCI layout of the image, its attestations and the cache of its build."""
    metadata: dict[int, str]
    """The place in the metadata, by the number of a plant."""


def lab(seed: int) -> Lab:
    """Build the lab; the same seed gives the same image."""
    source, rules = random.Random(seed), rule_files(data_path("rules"))
    planted, misses = plants(rules, source), near_misses(rules, source)
    metadata = Metadata([step("ADD rootfs.tar /"), step("COPY . /"), step("RUN rm -rf build")])
    places = {
        number: metadata.put(plant.how, number, plant.text)
        for number, plant in enumerate(planted)
        if plant.path is None
    }
    risky_texts, risky = risky_files(source)
    format_texts, formats = format_files(source)
    written = {f"dialects/{number}/{one.path}": one for number, one in enumerate(dialects(source))}
    built = image(
        layer(
            {"etc/os-release": "ID=lab\n", **decoys(source)},
            {f"{_MISSES}{number}.conf": miss.content for number, miss in enumerate(misses)},
            {path: one.text for path, one in written.items()},  # a layer has a limit of findings
        ),
        layer(_held(planted), risky_texts, format_texts),
        layer(*_hiding(planted)),
        history=metadata.history,
        config=metadata.config,
        annotations=metadata.annotations,
    )
    built.config.update(metadata.once)
    return Lab(planted, misses, risky, formats, written, metadata.layout(built), places)


def _held(planted: Sequence[Plant]) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {p.path: p.content for p in planted if p.path and p.how not in REPOSITORIES}
    for how, folder in REPOSITORIES.items():
        inside = {plant.path: plant.content for plant in planted if plant.how == how and plant.path}
        made = repository(inside, packed=how == "git pack")
        files |= {f"{folder}/{path}": data for path, data in made.items()}
    return files


def _hiding(planted: Iterable[Plant]) -> list[Item | Mapping[str, bytes | str]]:
    items: list[Item | Mapping[str, bytes | str]] = [whiteout(REPOSITORIES["git pack"])]
    for plant in planted:
        if plant.path and plant.how not in REPOSITORIES:
            if plant.state is State.DELETED:
                items.append(whiteout(plant.path))
            elif plant.state is State.OVERWRITTEN:
                items.append({plant.path: "gone\n"})
    return items


class Judge:
    """Compares what was planted with what was found."""

    def __init__(self, planted: Lab, results: Sequence[Audit]) -> None:
        self._lab = planted
        self._at: dict[str, list[Finding]] = {}
        for finding in (finding for result in results for finding in result.findings):
            self._at.setdefault(_place(finding), []).append(finding)

    def found(self, number: int) -> Finding | None:
        """Return the finding of a plant."""
        plant = self._lab.plants[number]
        place = f"/{plant.path}" if plant.path else self._lab.metadata[number]
        same = [f for f in self._at.get(place, ()) if _same(f, plant.secret, plant.confidence)]
        return max(same, key=lambda f: f.rule == plant.rule.id, default=None)

    def placed(self, number: int, finding: Finding) -> bool:
        """Say whether state, layers, line and way in of a finding are those of its plant."""
        plant = self._lab.plants[number]
        if plant.state is State.METADATA:
            return finding.state is State.METADATA
        hidden_in = 2 if plant.state in _HIDDEN else None
        right = (finding.state, finding.added_in, finding.hidden_in) == (plant.state, 1, hidden_in)
        return right and plant.line in (None, finding.line) and _came(plant, finding)

    def missed_risky(self) -> list[Risky]:
        """Return the risky lines on which nothing was found at the default confidence."""
        return [one for one in self._lab.risky if not any(self._on(one.path, one.line, one.secret))]

    def missed_formats(self) -> list[tuple[Format, str]]:
        """Return the documented formats that were not found as their provider's, and what they were found as."""
        missed = []
        for one in self._lab.formats:
            named = {f.rule: f.provider for f in self._on(one.path, None, one.secret)}
            if one.provider not in named.values():
                missed.append((one, ", ".join(named) or "nothing"))
        return missed

    def found_in_dialect(self, path: str) -> list[Finding]:
        """Return the findings in the file of a dialect at the default confidence: of a near miss, any."""
        return self._on(path, None, self._lab.dialects[path].secret or "")

    def reported_decoys(self) -> list[Finding]:
        """Return the findings in decoys at the default confidence."""
        in_decoys = (f for place, items in self._at.items() if place.startswith("/srv/decoys/") for f in items)
        return [f for f in in_decoys if f.confidence.rank >= Confidence.MEDIUM.rank]

    def reported_misses(self) -> list[Plant]:
        """Return the near misses that were taken for secrets of their rule."""
        return [
            miss
            for number, miss in enumerate(self._lab.misses)
            for finding in self._at.get(f"/{_MISSES}{number}.conf", ())
            if finding.rule == miss.rule.id and finding.confidence is miss.rule.confidence
        ]

    def _on(self, path: str, line: int | None, secret: str) -> list[Finding]:
        at = self._at.get(f"/{path}", ())
        return [f for f in at if line in (None, f.line) and _same(f, secret, Confidence.MEDIUM)]


def _place(finding: Finding) -> str:
    """Return the path or the place in the metadata; of what lies in a repository's history the path there."""
    if finding.member and finding.member.startswith("commit "):
        return "/" + finding.member.partition(":")[2]
    return finding.path or finding.where or ""


def _came(plant: Plant, finding: Finding) -> bool:
    """Say whether a finding names the way into its file."""
    if plant.how in REPOSITORIES:
        return (finding.path or "").startswith(f"/{REPOSITORIES[plant.how]}/.git/objects/")
    member = (finding.member or "").endswith(plant.way.member) if plant.way.member else finding.member is None
    return member and plant.way.decoded in (None, finding.decoded)


def _same(finding: Finding, secret: str, least: Confidence) -> bool:
    got = finding.secret.reveal()
    return (got in secret or secret in got) and finding.confidence.rank >= least.rank
