"""What a worker of a Dask cluster does: read the layers that `dask_engine` sends it.

Versions      of a worker and of the sweep: they must be the same
Credentials   the login and the sealing key; they come with each task, and are forgotten with it
Session       what the tasks of a sweep share on a worker: rules and connections
read          the task
"""

from __future__ import annotations

import sys
import tempfile
import threading
from dataclasses import dataclass, fields, replace
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from auditor.core.cache_folder import cache_folder
from auditor.core.cache_keys import RECORDS
from auditor.core.errors import Unreachable
from auditor.core.process import disable_core_dumps
from auditor.core.version import __version__
from auditor.detect.rules import Ruleset
from auditor.fleet.execution.dask_rate import ClusterRate
from auditor.fleet.execution.engine import Rules, Source, Task, read_layer
from auditor.registry.authentication import Login
from auditor.registry.client import Client
from auditor.scan import Scanner


@dataclass(frozen=True, slots=True)
class Versions:
    """What must be the same on both sides, or records would differ."""

    image_audit: str
    code: str
    rules: str
    byteorder: str
    libraries: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, ruleset: Ruleset) -> Versions:
        """Return those of this process, and what it takes the rules for."""
        own = Rules.of(Ruleset(ruleset.rules))  # the digest that comes along would be taken on trust
        return cls(__version__, own.code[:12], own.ruleset[:19], sys.byteorder, RECORDS.versions)

    def differences(self, wanted: Versions) -> str:
        """Say in which way this is not as `wanted`; an empty text where it is."""
        pairs = zip(self._named(), wanted._named(), strict=False)
        return ", ".join(f"{name} {own}, not {other}" for (name, own), (_, other) in pairs if own != other)

    def _named(self) -> list[tuple[str, str]]:
        single = [(field.name.replace("_", "-"), getattr(self, field.name)) for field in fields(self)[:-1]]
        return [*single, *self.libraries]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Who a worker is to the registry, and what it seals secrets with. The repr, which Dask logs, shows neither."""

    login: Login
    key: bytes

    def __repr__(self) -> str:
        return "Credentials()"


class Session(WorkerPlugin):
    """What the tasks of a sweep share on a worker. The scheduler keeps it, and logs it if told to: it holds no secret.

    `source.ca` is a file on the sweep's machine; its content travels along.
    """

    def __init__(self, source: Source, ruleset: Ruleset) -> None:
        self._source, self._ruleset = source, ruleset
        self._certificates = source.ca.read_bytes() if source.ca else None
        self._wanted = Versions.of(ruleset)

    def setup(self, worker: Worker) -> None:
        """Make what the tasks share. A worker that is not as it must be says so in the tasks that it is given."""
        disable_core_dumps()
        self._address = worker.address
        self._rate = ClusterRate(self._source.host, self._source.rate, worker) if self._source.rate else None
        self._unfit = Versions.of(self._ruleset).differences(self._wanted)
        self._folder = tempfile.TemporaryDirectory(prefix="image-audit-")
        self._scanner = Scanner(self._ruleset, worker.state.nthreads, cache=cache_folder(), limits=self._source.limits)
        self._scanner.prepare()
        self._lock = threading.Lock()
        self._client: Client | None = None

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Let go of it all."""
        self._scanner.close()
        self._folder.cleanup()

    def read(self, task: Task, credentials: Credentials) -> bytes:
        """Read a layer, as `read_layer` does. Raises Unreachable where this worker is not as it must be."""
        if self._unfit:
            raise Unreachable(f"worker {self._address} has {self._unfit}; install the same image-audit there")
        with self._lock:
            self._client = self._client or self._registry(credentials.login)
        return read_layer(task, self._client, self._scanner, credentials.key)

    def _registry(self, login: Login) -> Client:
        """Return a client that all tasks share, so that they share its tokens and its pace."""
        source = self._source
        if self._certificates is not None:
            file = Path(self._folder.name) / "ca.pem"
            file.write_bytes(self._certificates)
            source = replace(source, ca=file)
        return source.client(login, self._rate)


def read(session: str, task: Task, credentials: Credentials) -> bytes:
    """Read a layer, on a worker; `session` is the name of its plugin."""
    worker = get_worker()
    plugin = worker.plugins.get(session)
    if not isinstance(plugin, Session):
        raise Unreachable(f"worker {worker.address} knows nothing of this sweep any more")
    return plugin.read(task, credentials)
