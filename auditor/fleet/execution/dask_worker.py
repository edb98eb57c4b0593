"""Worker side of the Dask engine.

RulesData            rules as they are sent to workers
SoftwareVersions     versions that must be equal on the worker and on the machine that runs the sweep
Credentials          registry login and HMAC key; encrypted for one worker
SweepPlugin          state shared by the tasks of a sweep: rules, scanner, connections, credentials
read                 the task: read layers
public_key, accept_credentials    what the sweep runs on workers to give them the credentials
"""

from __future__ import annotations

import functools
import json
import pickle
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeAlias

from distributed import Worker, WorkerPlugin, get_worker
from nacl.public import PrivateKey, PublicKey, SealedBox

from auditor.core.cache_folder import cache_folder
from auditor.core.cache_keys import RECORDS
from auditor.core.dataclass import dataclass
from auditor.core.errors import AuditError, Unreachable
from auditor.core.limits import Limits
from auditor.core.process import disable_core_dumps
from auditor.core.time_slices import long_time_slices
from auditor.core.version import __version__
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_measurements import SelfMeasurements
from auditor.fleet.execution.dask_rate import ClusterRate
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.fleet.execution.layer_scan import read_layer
from auditor.registry.client import Client
from auditor.registry.logins import Login
from auditor.scan import Scanner
from auditor.scan.record_format import format_version
from auditor.scan.searcher import Searcher


@dataclass(frozen=True, slots=True)
class RulesData:
    """The rules of a sweep in the format of pickle, which is how Dask itself sends functions and their arguments."""

    pickled: bytes

    @classmethod
    def of(cls, ruleset: Ruleset) -> RulesData:
        """Return the rules of a ruleset, without its digest."""
        return cls(pickle.dumps(ruleset.rules, pickle.HIGHEST_PROTOCOL))

    def ruleset(self) -> Ruleset:
        """Return the ruleset; the same object for the next call with equal data."""
        return _ruleset(self.pickled)


@functools.lru_cache(1)
def _ruleset(pickled: bytes) -> Ruleset:
    return Ruleset(pickle.loads(pickled))  # noqa: S301 - from the sweep, whose functions a worker runs


@functools.lru_cache(1)
def _searcher(rules: RulesData, limits: Limits, jobs: int) -> Searcher:
    """Return a searcher; the next sweep with the same rules and limits gets the same one."""
    return Searcher(rules.ruleset(), cache_folder(), limits, jobs=jobs)


@dataclass(frozen=True, slots=True)
class SoftwareVersions:
    """Versions that records depend on: they must be equal on both sides."""

    image_audit: str
    code: str
    rules: str
    byteorder: str
    libraries: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, rules: RulesData) -> SoftwareVersions:
        """Return the versions of this process; the digest of the rules is computed here."""
        digest = rules.ruleset().digest
        return cls(__version__, format_version()[:12], digest[:19], sys.byteorder, RECORDS.versions)

    def differences(self, required: SoftwareVersions) -> str:
        """Describe the differences from `required`; an empty text if there are none."""
        pairs = zip(self._named(), required._named(), strict=False)
        return ", ".join(f"{name} {own}, not {other}" for (name, own), (_, other) in pairs if own != other)

    def _named(self) -> list[tuple[str, str]]:
        single = [(field.name.replace("_", "-"), getattr(self, field.name)) for field in fields(self)[:-1]]
        return [*single, *self.libraries]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Registry login and HMAC key of a sweep. The repr, which Dask logs, shows neither."""

    login: Login
    key: bytes

    def __repr__(self) -> str:
        return "Credentials()"

    def sealed(self, public_key: bytes) -> bytes:
        """Return the credentials, encrypted for the owner of an X25519 public key."""
        login = self.login
        text = json.dumps([login.user, login.password, login.identity, self.key.hex()])
        return SealedBox(PublicKey(public_key)).encrypt(text.encode())

    @classmethod
    def opened(cls, sealed: bytes, private_key: PrivateKey) -> Credentials:
        """Decrypt credentials. Raises nacl.exceptions.CryptoError if they are encrypted for another key."""
        user, password, identity, key = json.loads(SealedBox(private_key).decrypt(sealed))
        return cls(Login(user, password, identity), bytes.fromhex(key))


@dataclass(frozen=True, slots=True)
class CredentialsRequest:
    """Answer of a worker that has no credentials yet: its address and its X25519 public key."""

    worker: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class UnfitWorker:
    """Answer of a worker that reads nothing: its address, and the reason."""

    worker: str
    reason: str

    def __str__(self) -> str:
        return f"worker {self.worker} {self.reason}"


class SweepPlugin(WorkerPlugin):
    """State shared by the tasks of a sweep on one worker. It holds no secret, because the scheduler may log it.

    During the sweep, the worker does not measure itself: that takes up to a fifth of its processor time. It has long
    time slices, as its work is to be done soon rather than begun soon.
    `endpoint.ca` is a file on the machine that runs the sweep; the plugin carries its content.
    """

    def __init__(self, endpoint: RegistryEndpoint, rules: RulesData, required: SoftwareVersions) -> None:
        self._endpoint, self._rules, self._required = endpoint, rules, required
        self._certificates = endpoint.ca.read_bytes() if endpoint.ca else None

    def setup(self, worker: Worker) -> None:
        """Prepare the worker. One that can't be prepared does not fail here: it reads no layer."""
        self._opened = ExitStack()
        self._address, self._unfit, self._is_closed = worker.address, "", False
        self._private_key = PrivateKey.generate()
        self._credentials: Credentials | None = None
        self._client: Client | None = None
        self._lock = threading.Lock()
        try:
            self._prepare(worker)
        except Exception as exc:
            self._opened.close()
            cause = str(exc) if isinstance(exc, AuditError) else error_name(exc)
            self._unfit = f"can't read layers ({cause}). Repair it and start it again."

    def _prepare(self, worker: Worker) -> None:
        """Create the scanner, and change the worker until teardown."""
        disable_core_dumps()
        measurements = SelfMeasurements(worker)
        measurements.pause()
        self._opened.callback(measurements.resume)
        self._opened.enter_context(long_time_slices())
        endpoint = self._endpoint
        self._rate = ClusterRate(endpoint, lambda: worker) if endpoint.rate else None
        if differences := SoftwareVersions.of(self._rules).differences(self._required):
            self._unfit = f"has {differences}. Install the same image-audit there as here."
        self._folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="image-audit-")))
        threads = worker.state.nthreads
        scanner = Scanner(
            self._rules.ruleset(),
            threads,
            cache=cache_folder(),
            limits=endpoint.limits,
            extract_published=True,  # the package lists of other layers are not at hand
            searcher=_searcher(self._rules, endpoint.limits, threads),
        )
        self._scanner = self._opened.enter_context(closing(scanner))
        self._scanner.prepare()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Close the scanner, remove the temporary folder, and set the worker back."""
        self._is_closed = True
        self._opened.close()

    @property
    def public_key(self) -> bytes:
        """X25519 key for which the credentials are to be encrypted."""
        return bytes(self._private_key.public_key)

    def accept(self, sealed: bytes) -> None:
        """Take the credentials of the sweep, encrypted for this worker; the next task connects with them."""
        credentials = Credentials.opened(sealed, self._private_key)
        with self._lock:
            self._credentials, self._client = credentials, None

    def read(self, tasks: Sequence[LayerTask]) -> Answer:
        """Read layers by `read_layer`, or ask for the credentials. One that can't be read does not affect others.

        Return None if the plugin was removed meanwhile: then each layer may have failed because of that.
        """
        if self._unfit:
            return UnfitWorker(self._address, self._unfit)
        with self._lock:
            credentials = self._credentials
            if credentials is None:
                return CredentialsRequest(self._address, self.public_key)
            client = self._client = self._client or self._connect(credentials.login)
        records = [self._read(task, client, credentials.key) for task in tasks]
        return None if self._is_closed else records

    def _read(self, task: LayerTask, client: Client, key: bytes) -> bytes | AuditError:
        try:
            return read_layer(task, client, self._scanner, key)
        except AuditError as exc:
            return exc
        except Exception as exc:  # its text may contain content of the layer
            return Unreachable(f"{task}: {error_name(exc)} on a worker")

    def _connect(self, login: Login) -> Client:
        """Return the client of all tasks: they share its tokens and its rate limit."""
        endpoint = self._endpoint
        if self._certificates is not None:
            file = self._folder / "ca.pem"
            file.write_bytes(self._certificates)
            endpoint = replace(endpoint, ca=file)
        return endpoint.client(login, self._rate)


Answer: TypeAlias = "list[bytes | AuditError] | CredentialsRequest | UnfitWorker | None"
"""What a task returns: the record of each layer or its error; or why it read none, None without the plugin."""


def read(plugin_name: str, tasks: Sequence[LayerTask]) -> Answer:
    """Read layers on a worker; None if it lacks the plugin: the scheduler restarted, or another process removed it."""
    plugin = get_worker().plugins.get(plugin_name)
    return plugin.read(tasks) if isinstance(plugin, SweepPlugin) else None


def error_name(exc: BaseException) -> str:
    """Return what may be said of an unexpected error, whose text may contain content of a layer."""
    return (isinstance(exc, OSError) and exc.strerror) or type(exc).__name__


def public_key(plugin_name: str, dask_worker: Worker) -> bytes | None:
    """Return the public key of a worker for the credentials of a sweep. Dask fills in `dask_worker`."""
    plugin = dask_worker.plugins.get(plugin_name)
    return plugin.public_key if isinstance(plugin, SweepPlugin) else None


def accept_credentials(plugin_name: str, sealed: Mapping[str, bytes], dask_worker: Worker) -> None:
    """Take the credentials of a sweep on a worker, which are given by address. Dask fills in `dask_worker`."""
    plugin, own = dask_worker.plugins.get(plugin_name), sealed.get(dask_worker.address)
    if isinstance(plugin, SweepPlugin) and own is not None:
        plugin.accept(own)
