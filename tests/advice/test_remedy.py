"""The advice for a finding follows from where the secret comes from."""

from __future__ import annotations

import pytest

from auditor.advice.remedy import build_fix
from auditor.core.finding import Confidence, Finding, Package, Severity, State
from auditor.core.secret import Secret


def key(path: str, package: Package | None = None) -> Finding:
    return Finding(
        id="1",
        rule="private-key",
        name="Private key",
        provider="key",
        detector="rules",
        severity=Severity.HIGH,
        confidence=Confidence.HIGH,
        state=State.PRESENT,
        path=path,
        where=None,
        secret=Secret("x" * 40, "xx****"),
        secret_id="s1",
        added_in=0,
        added_by="RUN apt-get install",
        package=package,
    )


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        "/etc/bind/rndc.key",
        "/var/lib/rabbitmq/.erlang.cookie",
        "/etc/ssh/ssh_host_ed25519_key",
        "/var/lib/mysql/server-key.pem",
    ],
)
def test_a_key_that_an_installation_made_is_shared_by_all_containers(path: str) -> None:
    assert "all containers of the image share it" in build_fix(key(path))


def test_other_keys_are_mounted() -> None:
    assert "--mount=type=secret" in build_fix(key("/etc/nginx/server.key"))
    shipped = Package("dpkg", "acme", "1", unmodified=True)
    assert "--mount=type=secret" in build_fix(key("/etc/bind/rndc.key", shipped))
