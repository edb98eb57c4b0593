"""One at a time: a lease in the store. Whoever holds it renews it, and one of a process that died ends soon.

    with held(store, sweep_lease(...), "registry.example.com is swept") as lease:
        lease.check()                                  # now and then: whether it is held still

Times are the database's own, so that clocks of machines may differ. A process of this machine that is dead is known at
once; of one of another machine it is waited to see whether it renews its lease.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from auditor.core.errors import StoreError
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import Store

TERM_S = 60
_RENEWALS = 4  # in a term
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease; `ends` is in seconds since 1970 by the database's clock."""

    token: str
    name: str
    machine: str
    process: str
    since: str
    ends: int


class Lease:
    """A lease that is held."""

    def __init__(self, store: Store, name: str, what: str, token: str, term_s: float) -> None:
        self._store, self._name, self._what, self._token, self._term_s = store, name, what, token, term_s
        self._over, self._lost = threading.Event(), False
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """Raise StoreError where another process took the lease over: this one stood still for longer than a term."""
        if self._lost:
            raise StoreError(f"store {self._store}: {self._what} by another process since this one stood still")

    def release(self) -> None:
        """Let others have it."""
        self._over.set()
        self._renewer.join(self._term_s)
        own = delete(t.lease).where(t.lease.c.name == self._name, t.lease.c.token == self._token)
        with contextlib.suppress(StoreError):  # it ends by itself
            self._store.write(lambda c: c.execute(own), patient=False)

    def _renew(self) -> None:
        while not self._over.wait(self._term_s / _RENEWALS):
            with contextlib.suppress(StoreError):  # the store is away; whoever sweeps meets that too
                self._lost = not self._store.write(self._prolong, patient=False)

    def _prolong(self, connection: Connection) -> bool:
        own = (t.lease.c.name == self._name, t.lease.c.token == self._token)
        ends = int(_now(connection) + self._term_s)
        return bool(connection.execute(update(t.lease).where(*own).values(ends=ends)).rowcount)


@contextmanager
def held(
    store: Store,
    name: str,
    what: str,
    *,
    say: Callable[[str], None] = lambda _: None,
    term_s: float = TERM_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease]:
    """Hold a lease. `what` is what goes on under it, for people.

    Raises StoreError where another holds it. Whether one of another machine is alive is known after up to a term; `say`
    is told.
    """
    token = secrets.token_hex(16)
    before: Holder | None = None
    while other := store.write(lambda c: _take(c, name, token, term_s)):
        if _is_here(other) or before not in (None, other):
            raise StoreError(f"store {store}: {what} by {other.name} since {other.since}; one at a time")
        if before is None:
            say(f"{what} by {other.name}, or was: waiting whether it goes on")
        before = other
        sleep(min(_LOOK_S, term_s / _RENEWALS))
    lease = Lease(store, name, what, token, term_s)
    try:
        yield lease
    finally:
        lease.release()


def sweep_lease(registry: str, scope: str) -> str:
    """Return the name of the lease of a sweep: of the same part with the same options there is one at a time."""
    return f"sweep {_hashed(registry, scope)}"


def is_sweep(name: str) -> bool:
    """Whether a lease is that of a sweep."""
    return name.startswith("sweep ")


def names(connection: Connection) -> set[str]:
    """Return the names of the leases whose term is not over."""
    return set(connection.execute(select(t.lease.c.name).where(t.lease.c.ends >= _now(connection))).scalars())


def watch_lease(registry: str, choice: str | None) -> str:
    """Return the name of the lease of a watch."""
    return f"watch {_hashed(registry, choice or '')}"


def _take(connection: Connection, name: str, token: str, term_s: float) -> Holder | None:
    """Take a lease that is free, over, or of a dead process of this machine; or return who holds it."""
    now = _now(connection)
    stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = {
        "token": token, "holder": f"{socket.gethostname()}, process {os.getpid()}"[:255], "machine": _machine(),
        "process": _started(os.getpid()), "since": stamp, "ends": int(now + term_s),
    }  # fmt: skip
    row = connection.execute(select(t.lease).where(t.lease.c.name == name)).first()
    if row is None:
        with contextlib.suppress(IntegrityError), connection.begin_nested():
            connection.execute(insert(t.lease).values(name=name, **own))
            return None
        row = connection.execute(select(t.lease).where(t.lease.c.name == name)).one()
    other = Holder(row.token, row.holder, row.machine, row.process, row.since, row.ends)
    free = t.lease.c.ends < now if not _is_dead(other) else t.lease.c.token == other.token
    taken = connection.execute(update(t.lease).where(t.lease.c.name == name, free).values(**own)).rowcount
    return None if taken else other


def _now(connection: Connection) -> int:
    """Return the database's time, in seconds since 1970."""
    moment: datetime.datetime = connection.execute(select(func.now())).scalar_one()
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())


def _is_here(other: Holder) -> bool:
    """Whether a process of this machine holds it, and is alive."""
    return other.machine == _machine() and bool(other.process) and not _is_dead(other)


def _is_dead(other: Holder) -> bool:
    if other.machine != _machine() or not other.process:
        return False
    process = int(other.process.partition(" ")[0])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # of another user
        pass
    return _started(process) not in ("", other.process)


def _machine() -> str:
    """Tell this machine, and the numbers that its processes have here, from others."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return _hashed(boot, str(Path("/proc/self/ns/pid").readlink()))
    return _hashed(socket.gethostname(), str(os.getpid()))


def _started(process: int) -> str:
    """Return a process's number with when it was started, since numbers come again; empty where nobody says."""
    with contextlib.suppress(OSError, IndexError):
        # Fields 3 and 22 of proc_pid_stat(5); the name before, in parentheses, may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return f"{process} {'ended' if fields[0] in 'ZX' else fields[19]}"
    return ""


def _hashed(*parts: Any) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
