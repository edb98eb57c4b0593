"""The `Engine` protocol: where layers are read. Every engine runs `layer_scan.read_layer`.

Each layer is one task. Its record depends on its bytes and the rules alone, so any worker may read it, and another one
may repeat it after a failure: the result is byte-identical. The sweep requests each layer once and stores the records.

    LayerTask          a layer of a repository
    RegistryEndpoint   address and connection settings of the registry; each process finds its own credentials
    Engine             submit(task) -> Future of the record that `encode_record` writes

An engine is made with a RegistryEndpoint, a Ruleset, and the HMAC key of secrets (`store.key`, which is never logged).
If a layer can't be read, its future raises an AuditError that names the layer; other layers are not affected.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from auditor.core.dataclass import dataclass
from auditor.core.digests import Digest
from auditor.core.limits import DEFAULT, Limits
from auditor.registry.client import Client
from auditor.registry.logins import Login


@dataclass(frozen=True, slots=True)
class LayerTask:
    """A layer to read; `size` is its stored size in bytes, None if the manifest does not give it."""

    repository: str
    digest: Digest
    size: int | None

    def __str__(self) -> str:
        return f"layer {self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """Address and connection settings of a registry; `rate` is in requests per second, None for no limit.

    `path` is the namespace of the sweep, for which credentials may be stored.
    """

    host: str
    insecure: bool = False
    ca: Path | None = None
    rate: float | None = None
    limits: Limits = DEFAULT
    path: str = ""

    def client(self, login: Login | None = None, rate: AbstractContextManager[object] | None = None) -> Client:
        """Return a client that threads may share, with the given login or the one stored on this machine.

        `rate` is a rate limit shared with other processes.
        """
        return Client(
            self.host,
            path=self.path,
            insecure=self.insecure,
            ca=self.ca,
            rate=rate or self.rate,
            login=login,
            limits=self.limits,
        )


class Engine(Protocol):
    """Reader of layers, on this machine or on others."""

    def submit(self, task: LayerTask) -> Future[bytes]:
        """Schedule the read of a layer; return at once."""
        ...

    def close(self) -> None:
        """Cancel waiting tasks and release the workers."""
        ...
