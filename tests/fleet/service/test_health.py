"""Addresses of the health endpoint."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from auditor.core.errors import UsageError
from auditor.fleet.service import health

PAGES = {"/healthz": lambda: health.health(failing=None)}


def test_the_health_endpoint_serves_two_pages_on_ipv6_too() -> None:
    with health.serve(health.parse_address("[::1]:0"), PAGES) as address:
        assert address.startswith("[::1]:")
        assert urllib.request.urlopen(f"http://{address}/healthz").status == 200
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"http://{address}/")
        caught.value.close()


@pytest.mark.parametrize("text", ["9464", "localhost", "127.0.0.1:", "127.0.0.1:99999", ":9464"])
def test_an_invalid_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--listen .*: not an address"):
        health.parse_address(text)


def test_a_port_in_use_is_a_usage_error() -> None:
    with (
        health.serve(("127.0.0.1", 0), {}) as address,
        pytest.raises(UsageError, match=f"^--listen {address}: Address already in use$"),
        health.serve(health.parse_address(address), {}),
    ):
        pass
