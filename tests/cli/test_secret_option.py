"""Options with secret values: from the command line, a variable, or a file that a variable names."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.fleet.service.test_deploy import parsed

SCAN = ["registry", "scan", "registry.example.com"]


def test_a_file_has_the_value_of_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").write_text("sqlite:///from-file\n")
    (tmp_path / "notify").write_text("https://hooks.example.com/a\nhttps://hooks.example.com/b\n")
    monkeypatch.setenv("IMAGE_AUDIT_STORE_FILE", str(tmp_path / "store"))
    monkeypatch.setenv("IMAGE_AUDIT_NOTIFY_FILE", str(tmp_path / "notify"))
    found = parsed(SCAN)
    assert found["store"] == "sqlite:///from-file"
    assert found["notify"] == ("https://hooks.example.com/a", "https://hooks.example.com/b")
    monkeypatch.setenv("IMAGE_AUDIT_STORE", "sqlite:///from-variable")
    assert parsed(SCAN)["store"] == "sqlite:///from-variable"
    assert parsed([*SCAN, "--store", "sqlite:///from-option"])["store"] == "sqlite:///from-option"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file or directory"), (b"\n", "is empty"), (b"\xff", "can't be read")]
)
def test_a_file_without_a_value_is_no_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "store").write_bytes(content)
    monkeypatch.setenv("IMAGE_AUDIT_STORE_FILE", str(tmp_path / "store"))
    with pytest.raises(click.UsageError, match=f"^IMAGE_AUDIT_STORE_FILE: .*{said}"):
        parsed(SCAN)
