"""Image context of matches: layers, packages, file history, build steps, base image."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from auditor.core.dataclass import dataclass
from auditor.core.finding import Confidence, Package
from auditor.core.image_config import HistoryStep
from auditor.detect.heuristics.file_class import FileClass, file_class, is_in_package_archive, is_release_test
from auditor.detect.rules import Rule
from auditor.images.source import Image
from auditor.layers.build_steps import step_of_layer
from auditor.layers.file_history import FileHistory
from auditor.provenance import Packages
from auditor.provenance.databases import BY_MANAGER
from auditor.scan import LayerRecord

_SAMPLES = re.compile(
    r"(?:^|/)(?:tests?|testing|__tests__|testdata|test-data|fixtures?|specs?|examples?|samples?|demos?|docs?|man)/"
)
"""Folders of tests, examples and documentation."""


@dataclass(frozen=True)
class ImageContext:
    """An image with the records of its layers and all that turns their matches into findings.

    `step_layers` has the layer of each build step, and the lowest `base_layers` layers belong to the base image.
    `history` are the steps with masked texts.
    """

    image: Image
    records: Sequence[LayerRecord]
    packages: Packages
    file_history: FileHistory
    step_layers: Sequence[int | None]
    base_layers: int
    history: Sequence[HistoryStep] = ()

    @functools.cached_property
    def _last_base_step(self) -> int:
        layers = enumerate(self.step_layers)
        return max((step for step, layer in layers if layer is not None and layer < self.base_layers), default=-1)

    def is_base_step(self, step: int) -> bool:
        """Whether a step, or a later one, made a layer of the base image."""
        return step <= self._last_base_step

    def created_by(self, layer: int | None) -> str | None:
        """Return the masked text of the step that made a layer."""
        step = None if layer is None else step_of_layer(self.step_layers, layer)
        return None if step is None else self.history[step].created_by


_INSTALLED_DATA = re.compile(r"(?:^|/)var/lib/mysql/mysql/help_\w+\.\w+\Z")
"""Files that an installer fills from texts of a package: the help tables of MariaDB and MySQL."""

_PUBLIC_KEYS = frozenset(
    {
        "datadog-client-token",
        "gcp-api-key",
        "google-oauth-legacy-client-secret",
        "mapbox-public-token",
        "newrelic-browser-key",
        "posthog-project-key",
        "sentry-dsn",
        "stripe-publishable-key",
    }
)
"""Rules for keys that client software carries in the open, such as the Google API keys of Chromium."""
_KEY_IDS = frozenset(
    {
        "alibaba-access-key-id",
        "alibaba-sts-key-id",
        "aws-access-key-id",
        "baidu-access-key-id",
        "exoscale-api-key-id",
        "gcp-hmac-key-id",
        "jdcloud-access-key-id",
        "sumologic-access-id",
        "tencent-secret-id",
        "volcengine-access-key-id",
        "yandex-static-key-id",
    }
)
"""Rules for IDs of keys. An ID opens nothing without its key, which has a rule of its own."""
_CLUSTER_KEYS = frozenset({"docker-swarm-unlock-key", "swarm-join-token"})
"""Rules for keys that a cluster makes for itself. No provider issued those in the tests and texts of a package."""


def provenance_confidence(rule: Rule, confidence: Confidence, path: str, package: Package | None) -> Confidence:
    """Lower the confidence of a match of a rule by the origin of its file. A token of a provider keeps it.

    `path` is that of the file, of a member with the path of its archive as its folder. The result is low in an
    unmodified file of a package, and in test data of packages and releases. It is one step lower in files of packages
    without checksums (npm, archives of packages), where public keys are low, and in tests, examples and documentation.
    """
    if rule.has_own_shape and rule.id not in _PUBLIC_KEYS | _KEY_IDS | _CLUSTER_KEYS:
        return confidence
    if _INSTALLED_DATA.search(path):
        return Confidence.LOW
    if (package is not None and package.unmodified) or file_class(path) is FileClass.THIRD_PARTY_TESTS:
        return Confidence.LOW
    if is_release_test(path):
        return Confidence.LOW
    steps = int(bool(_SAMPLES.search(path)))
    if is_in_package_archive(path) or (package is not None and not BY_MANAGER[package.manager].has_checksums):
        steps += 2 if rule.id in _PUBLIC_KEYS else 1
    order = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)
    return order[max(confidence.rank - steps, 0)]
