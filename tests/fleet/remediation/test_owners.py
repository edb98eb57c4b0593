"""Owners of repositories, by globs."""

from __future__ import annotations

import pytest

from auditor.core.owner_options import OwnerOptions
from auditor.fleet.remediation.owners import Owners
from tests.fleet.stored import REGISTRY


def test_the_longest_glob_of_a_team_applies() -> None:
    owners = Owners(dict.fromkeys((f"{REGISTRY}/pay/**", f"{REGISTRY}/pay/api/**"), OwnerOptions("payments")))
    assert owners.glob_of(REGISTRY, "pay/web") == f"{REGISTRY}/pay/**"
    assert owners.glob_of(REGISTRY, "pay/api/v2") == f"{REGISTRY}/pay/api/**"
    assert owners.glob_of(REGISTRY, "shop") is owners.of(REGISTRY, "shop") is None


@pytest.mark.parametrize(
    ("glob", "owned", "others"),
    [
        ("registry.example.com/pay/**", ["pay/api", "pay/a/b"], ["payments/api", "pay"]),
        ("/registry.example.com/pay/*", ["pay/api"], ["shop/api"]),
        ("**/pay/**", ["pay/api", "team/pay/api"], ["team/payments"]),
        ("pay", ["pay", "team/pay", "pay/api"], ["payments"]),
        ("registry.example.com/pa[xy]/**", ["pay/api"], ["paz/api"]),
        ("registry.example.com/", ["pay/api", "shop"], []),
    ],
)
def test_globs_of_owners_are_those_of_a_gitignore(glob: str, owned: list[str], others: list[str]) -> None:
    owners = Owners({glob: OwnerOptions("payments")})
    assert {name: owners.of(REGISTRY, name) for name in (*owned, *others)} == {
        **dict.fromkeys(owned, "payments"),
        **dict.fromkeys(others),
    }
