"""Worker side of the Dask engine.

SoftwareVersions     versions that must be equal on the worker and on the machine that runs the sweep
Credentials          registry login and HMAC key; encrypted for one worker
SweepPlugin          state shared by the tasks of a sweep: rules, scanner, connections, credentials
read                 the task: read one layer
accept_credentials   what the sweep runs on a worker that asked for the credentials
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from dataclasses import fields, replace
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker
from nacl.public import PrivateKey, PublicKey, SealedBox

from auditor.core.cache_folder import cache_folder
from auditor.core.cache_keys import RECORDS
from auditor.core.dataclass import dataclass
from auditor.core.errors import Unreachable
from auditor.core.process import disable_core_dumps
from auditor.core.version import __version__
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_rate import ClusterRate
from auditor.fleet.execution.engine import LayerTask, RegistryEndpoint
from auditor.fleet.execution.layer_scan import read_layer
from auditor.registry.client import Client
from auditor.registry.logins import Login
from auditor.scan import Scanner
from auditor.scan.record_format import format_version

_SELF_MEASUREMENTS = ("profile", "profile-cycle", "tick")
"""Periodic callbacks with which a worker measures its tasks and its event loop, 150 times a second."""


@dataclass(frozen=True, slots=True)
class SoftwareVersions:
    """Versions that records depend on: they must be equal on both sides."""

    image_audit: str
    code: str
    rules: str
    byteorder: str
    libraries: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, ruleset: Ruleset) -> SoftwareVersions:
        """Return the versions of this process."""
        digest = Ruleset(ruleset.rules).digest  # computed here, because a received digest proves nothing
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


class SweepPlugin(WorkerPlugin):
    """State shared by the tasks of a sweep on one worker. It holds no secret, because the scheduler may log it.

    During the sweep, the worker does not measure itself: that takes up to a fifth of its processor time.
    `endpoint.ca` is a file on the machine that runs the sweep; the plugin carries its content.
    """

    def __init__(self, endpoint: RegistryEndpoint, ruleset: Ruleset) -> None:
        self._endpoint, self._ruleset = endpoint, ruleset
        self._certificates = endpoint.ca.read_bytes() if endpoint.ca else None
        self._required = SoftwareVersions.of(ruleset)

    def setup(self, worker: Worker) -> None:
        """Create the scanner. A worker with other versions does not fail here: its tasks fail with the reason."""
        disable_core_dumps()
        callbacks = worker.periodic_callbacks
        self._paused = [callbacks[name] for name in _SELF_MEASUREMENTS if name in callbacks]
        for callback in self._paused:
            callback.stop()
        self._address = worker.address
        endpoint = self._endpoint
        self._private_key = PrivateKey.generate()
        self._credentials: Credentials | None = None
        self._rate = ClusterRate(endpoint, lambda: worker) if endpoint.rate else None
        self._differences = SoftwareVersions.of(self._ruleset).differences(self._required)
        self._folder = tempfile.TemporaryDirectory(prefix="image-audit-")
        self._scanner = Scanner(
            self._ruleset,
            worker.state.nthreads,
            cache=cache_folder(),
            limits=endpoint.limits,
            extract_published=True,  # the package lists of other layers are not at hand
        )
        self._scanner.prepare()
        self._lock = threading.Lock()
        self._client: Client | None = None

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Close the scanner and remove the temporary folder."""
        for callback in self._paused:
            callback.start()
        self._scanner.close()
        self._folder.cleanup()

    def accept(self, sealed: bytes) -> None:
        """Take the credentials of the sweep, encrypted for this worker."""
        self._credentials = Credentials.opened(sealed, self._private_key)

    def read(self, task: LayerTask) -> bytes | CredentialsRequest:
        """Read a layer by `read_layer`, or ask for the credentials.

        Raises Unreachable if this worker has other versions than the sweep.
        """
        if self._differences:
            raise Unreachable(
                f"worker {self._address} has {self._differences}. Install the same image-audit there as here."
            )
        credentials = self._credentials
        if credentials is None:
            return CredentialsRequest(self._address, bytes(self._private_key.public_key))
        with self._lock:
            self._client = self._client or self._connect(credentials.login)
        return read_layer(task, self._client, self._scanner, credentials.key)

    def _connect(self, login: Login) -> Client:
        """Return the client of all tasks: they share its tokens and its rate limit."""
        endpoint = self._endpoint
        if self._certificates is not None:
            file = Path(self._folder.name) / "ca.pem"
            file.write_bytes(self._certificates)
            endpoint = replace(endpoint, ca=file)
        return endpoint.client(login, self._rate)


def read(plugin_name: str, task: LayerTask) -> bytes | CredentialsRequest | None:
    """Read a layer on a worker; None if it lacks the plugin of the sweep, because the scheduler was restarted."""
    plugin = get_worker().plugins.get(plugin_name)
    return plugin.read(task) if isinstance(plugin, SweepPlugin) else None


def accept_credentials(plugin_name: str, sealed: bytes, dask_worker: Worker) -> None:
    """Take the credentials of a sweep on a worker. Dask fills in `dask_worker`."""
    plugin = dask_worker.plugins.get(plugin_name)
    if isinstance(plugin, SweepPlugin):
        plugin.accept(sealed)
