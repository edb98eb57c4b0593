"""Leases in the store: the exclusive right to run a sweep or a watch, or to notify a receiver.

    with hold_lease(store, sweep_lease_name(...), "registry.example.com is being swept") as lease:
        lease.check()                                  # from time to time: raises if the lease is lost

The holder renews its lease. The lease of a dead process expires after `TERM_S`, and at once if the process ran on this
machine. All times come from the clock of the database, so the clocks of the machines may differ.
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
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from auditor.core.dataclass import dataclass
from auditor.core.errors import LeaseHeld, LeaseLost, StoreError
from auditor.fleet.store import schema as t
from auditor.fleet.store.database import SweepStore

TERM_S = 60
_RENEWALS_PER_TERM = 4
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Holder of a lease; `expires` is in seconds since 1970 by the clock of the database."""

    token: str
    name: str
    machine: str
    process: str
    acquired: str
    expires: int


class Lease:
    """Lease held by this process; a thread renews it."""

    def __init__(self, store: SweepStore, name: str, activity: str, token: str, term_s: float) -> None:
        self._store, self._name, self._activity, self._token, self._term_s = store, name, activity, token, term_s
        self._released, self._lost, self._renewed_s = threading.Event(), False, _uptime_s()
        self._renewer = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """Raise LeaseLost if another process took the lease because this one was suspended for longer than a term.

        After a term without a renewal, this renews the lease itself. Raises StoreError if the store is unavailable.
        """
        if _uptime_s() - self._renewed_s > self._term_s:
            self._renew(retry=True)
        if self._lost:
            raise LeaseLost(
                f"store {self._store}: {self._activity} by another process after this one was suspended. Run it again."
            )

    def release(self) -> None:
        """Give the lease back."""
        self._released.set()
        self._renewer.join(self._term_s)
        own = delete(t.lease).where(t.lease.c.name == self._name, t.lease.c.token == self._token)
        with contextlib.suppress(StoreError):  # the lease expires anyway
            self._store.write(lambda c: c.execute(own), retry=False)

    def _keep(self) -> None:
        while not self._released.wait(self._term_s / _RENEWALS_PER_TERM):
            with contextlib.suppress(StoreError):  # the sweep reports an unavailable store
                self._renew(retry=False)

    def _renew(self, *, retry: bool) -> None:
        began = _uptime_s()
        self._lost = not self._store.write(self._extend, retry=retry)
        self._renewed_s = began

    def _extend(self, connection: Connection) -> bool:
        own = (t.lease.c.name == self._name, t.lease.c.token == self._token)
        expires = int(_now(connection) + self._term_s)
        return bool(connection.execute(update(t.lease).where(*own).values(expires=expires)).rowcount)


@contextmanager
def hold_lease(
    store: SweepStore,
    name: str,
    activity: str,
    *,
    report: Callable[[str], None] = lambda _: None,
    wait_s: float = 0,
    term_s: float = TERM_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease]:
    """Hold a lease for the duration of the block; `activity` describes it in messages.

    Raises LeaseHeld if another process holds it for `wait_s`. If that process runs on another machine, this
    waits for up to a term to see whether it renews the lease, and says so through `report`. A lease that it does not
    renew for a term is free, also if it expires much later because the clock of the database was set back.
    """
    token, poll_s, waited, seen_s = secrets.token_hex(16), min(_POLL_S, term_s / _RENEWALS_PER_TERM), 0.0, 0.0
    before: LeaseHolder | None = None
    take = partial(_take, name=name, token=token, term_s=term_s)
    while other := store.write(partial(take, abandoned=before if seen_s > term_s else None)):
        if waited >= wait_s and (_is_here(other) or before not in (None, other)):
            raise LeaseHeld(
                f"store {store}: {activity} by {other.name} since {other.acquired}. "
                "Wait until it ends, or stop it: only one runs at a time."
            )
        if before is None:
            report(f"{activity} by {other.name}, perhaps no longer: waiting up to {term_s:.0f} s for its lease")
        seen_s = seen_s + poll_s if before == other and not _is_here(other) else 0.0
        before = other
        sleep(poll_s)
        waited += poll_s
    lease = Lease(store, name, activity, token, term_s)
    try:
        yield lease
    finally:
        lease.release()


def sweep_lease_name(registry: str, scope: str) -> str:
    """Return the lease name of a sweep; sweeps of the same registry with the same filter share it."""
    return f"sweep {_hashed(registry, scope)}"


def is_sweep_lease(name: str) -> bool:
    """Whether a lease belongs to a sweep."""
    return name.startswith("sweep ")


def active_leases(connection: Connection) -> set[str]:
    """Return the names of all leases that have not expired."""
    return set(connection.execute(select(t.lease.c.name).where(t.lease.c.expires >= _now(connection))).scalars())


def watch_lease_name(registry: str, filter_text: str | None) -> str:
    """Return the lease name of a watch."""
    return f"watch {_hashed(registry, filter_text or '')}"


def alerts_lease_name(receiver: bytes, host: str) -> str:
    """Return the lease name of the alerts about a registry for a receiver, by its identity in the store."""
    return f"alerts {_hashed(receiver.hex(), host)}"


def _take(
    connection: Connection, name: str, token: str, term_s: float, abandoned: LeaseHolder | None
) -> LeaseHolder | None:
    """Take a lease that is free, expired, abandoned, or of a dead process of this machine; else return its holder."""
    now = _now(connection)
    stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = {
        "token": token, "holder": f"{socket.gethostname()}, process {os.getpid()}"[:255], "machine": _machine(),
        "process": _started(os.getpid()), "acquired": stamp, "expires": int(now + term_s),
    }  # fmt: skip
    row = connection.execute(select(t.lease).where(t.lease.c.name == name)).first()
    if row is None:
        with contextlib.suppress(IntegrityError), connection.begin_nested():
            connection.execute(insert(t.lease).values(name=name, **own))
            return None
        row = connection.execute(select(t.lease).where(t.lease.c.name == name)).one()
    other = LeaseHolder(row.token, row.holder, row.machine, row.process, row.acquired, row.expires)
    is_free = other.expires < now or other == abandoned or _is_dead(other)
    same = t.lease.c.name == name, t.lease.c.token == other.token, t.lease.c.expires == other.expires
    taken = is_free and connection.execute(update(t.lease).where(*same).values(**own)).rowcount
    return None if taken else other


def _uptime_s() -> float:
    """Return the seconds since the start of the machine, including those in which it was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _now(connection: Connection) -> int:
    """Return the time of the database in seconds since 1970."""
    moment: datetime.datetime = connection.execute(select(func.now())).scalar_one()
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())


def _is_here(other: LeaseHolder) -> bool:
    """Whether the holder is a live process of this machine."""
    return other.machine == _machine() and bool(other.process) and not _is_dead(other)


def _is_dead(other: LeaseHolder) -> bool:
    if other.machine != _machine() or not other.process:
        return False
    process = int(other.process.partition(" ")[0])
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # a process of another user
        pass
    return _started(process) not in ("", other.process)


def _machine() -> str:
    """Return an identifier of this machine, its boot, and its PID namespace."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return _hashed(boot, str(Path("/proc/self/ns/pid").readlink()))
    return _hashed(socket.gethostname(), str(os.getpid()))


def _started(process: int) -> str:
    """Return process id and start time, because ids are reused; an empty text if unknown."""
    with contextlib.suppress(OSError, IndexError):
        # Fields 3 and 22 of proc_pid_stat(5); the name before them, in parentheses, may contain spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return f"{process} {'ended' if fields[0] in 'ZX' else fields[19]}"
    return ""


def _hashed(*parts: Any) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
