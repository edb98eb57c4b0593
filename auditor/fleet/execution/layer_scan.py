"""Fetch, verify and scan a layer: one logical request with one retry budget. Every engine runs it."""

from __future__ import annotations

from auditor.core.errors import Damaged
from auditor.fleet.execution.engine import LayerTask
from auditor.registry.client import Client
from auditor.registry.repository import Repository
from auditor.registry.retry import RetryBudget
from auditor.scan import Scanner
from auditor.scan.record_format import encode_record


def read_layer(task: LayerTask, client: Client, scanner: Scanner, key: bytes) -> bytes:
    """Fetch, verify and scan a layer; return its record, with secrets as HMACs under `key`.

    Raises Damaged, NotFound, Unauthorized or Unreachable, naming the layer.
    """
    budget = client.budget()
    return budget.run(lambda: _read(task, client, scanner, key, budget))


def _read(task: LayerTask, client: Client, scanner: Scanner, key: bytes, budget: RetryBudget) -> bytes:
    name = f"{client.host}/{task.repository}@{task.digest}"
    with Repository(client, task.repository).open_blob(task.digest, task.size, budget) as stream:
        record = scanner.scan_layer(stream, name, task.digest.algorithm)
    if record.digest != task.digest:
        raise Damaged(f"{name}: the registry sent bytes with the digest {record.digest}")
    return encode_record(record.with_hmacs(key, keep_text=False))
