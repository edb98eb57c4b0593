"""Where layers are read: the `Engine` protocol, and the one function that every engine runs.

A layer is a task. Its record depends on its bytes and the rules alone, so it may be read anywhere, by any number of
workers, again after one was lost; the answer is the same bytes. The sweep asks for each layer once, keeps the answers
in the store, and asks for no layer that the store has; an engine only reads.

    Task        a layer of a repository of the registry that is swept
    Source      the registry, and how to speak to it; credentials are found by whoever asks it (`docker login`)
    Rules       what a worker must have the same as the sweep, or it must say why not
    read_layer  fetches, verifies and scans: one logical request, with one retry budget
    Engine      submit(task) -> Future of the record as `scan.serial.dumped` writes it, secrets sealed under a key

An engine is made with a Source, a Ruleset and the key that seals (`store.key`, which never goes into a log). A future
ends with an AuditError (its text says which layer) where a layer can't be read; the rest goes on.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from auditor.core.digests import Digest
from auditor.core.errors import Damaged
from auditor.core.limits import DEFAULT, Limits
from auditor.detect.rules import Ruleset
from auditor.registry.authentication import Login
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from auditor.registry.retry import RetryBudget
from auditor.scan import Scanner
from auditor.scan.serial import dumped, made_by


@dataclass(frozen=True, slots=True)
class Task:
    """One layer to read; `size` in bytes as stored, None where the manifest does not say."""

    repository: str
    digest: Digest
    size: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """A registry and how to speak to it; `rate` is requests a second, None without a limit."""

    host: str
    insecure: bool = False
    ca: Path | None = None
    rate: float | None = None
    limits: Limits = DEFAULT

    def client(self, login: Login | None = None, rate: AbstractContextManager[object] | None = None) -> Client:
        """Return a client, with the login given or the one stored here; threads may share it.

        `rate` is a rate limit that other processes share.
        """
        return Client(
            self.host, insecure=self.insecure, ca=self.ca, rate=rate or self.rate, login=login, limits=self.limits
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """What records depend on besides the layer: two sides with equal ones make equal records."""

    ruleset: str
    code: str

    @classmethod
    def of(cls, ruleset: Ruleset) -> Rules:
        """Return those of this process."""
        return cls(ruleset.digest, made_by())


class Engine(Protocol):
    """Reads layers somewhere."""

    def submit(self, task: Task) -> Future[bytes]:
        """Have a layer read; returns at once."""
        ...

    def close(self) -> None:
        """Drop what waits, and let go of workers."""
        ...


def read_layer(task: Task, client: Client, scanner: Scanner, key: bytes) -> bytes:
    """Fetch, verify and scan a layer; return its record, secrets sealed under `key`.

    Raises Damaged, NotFound, Unauthorized or Unreachable, naming the layer.
    """
    budget = client.budget()
    return budget.run(lambda: _read(task, client, scanner, key, budget))


def _read(task: Task, client: Client, scanner: Scanner, key: bytes, budget: RetryBudget) -> bytes:
    what = f"{client.host}/{task.repository}@{task.digest}"
    with Repository(client, task.repository).open_blob(task.digest, task.size, budget) as stream:
        record = scanner.scan_layer(stream, what, task.digest.algorithm)
    if record.digest != task.digest:
        raise Damaged(f"{what}: the bytes that came have the digest {record.digest}")
    return dumped(record.sealed(key, keep=False))
