"""Cores that a process may use, by the quotas of its control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.core import process

QUOTA, PERIOD = "cpu/a/cpu.cfs_quota_us", "cpu/a/cpu.cfs_period_us"


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, [4.0]),
        ("0::/a\n", {}, []),
        ("3:cpu,cpuacct:/a\n2:memory:/m\n", {QUOTA: "50000\n", PERIOD: "100000\n"}, [0.5]),
        ("3:cpu:/a\n", {QUOTA: "-1\n", PERIOD: "100000\n"}, []),
    ],
)  # fmt: skip
def test_quotas_of_all_groups_above_count(
    tmp_path: Path, groups: str, files: dict[str, str], quotas: list[float]
) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    written(own, groups)
    for name, text in files.items():
        written(root / name, text)
    assert list(process._quotas(own, root)) == quotas


def test_there_is_at_least_one_core() -> None:
    assert process.usable_cores() >= 1
