"""`image-audit registry scan` as users call it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.fleet.planted import Remote, application
from tests.fleet.proxy import Proxy
from tests.images import token

pytestmark = pytest.mark.registry
SCAN = ("registry", "scan")


@pytest.fixture(scope="module")
def two(start_registry: Any) -> str:
    """A registry with a clean image and one that leaks."""
    address: str = start_registry()
    remote = Remote(address)
    remote.push("team/clean", "1", application(0, "clean", None))
    remote.push("team/leaks", "1", application(0, "leaks", token(77)))
    return address


def test_the_exit_code_is_that_of_scan(cli: Cli, two: str) -> None:
    assert cli(*SCAN, two).status == 1
    assert cli(*SCAN, two, "--fail-on", "never").status == 0
    assert cli(*SCAN, f"{two}/team/clean").status == 0
    assert cli(*SCAN, two, "--exclude-rule", "github-pat").status == 0


def test_the_table_shows_what_leaks_and_no_secret(cli: Cli, two: str) -> None:
    done = cli(*SCAN, two)
    assert "team/leaks:1" in done.out and "team/clean" not in done.out and done.err == ""
    assert "2 images, 2 repositories" in done.out and "1 new, 0 gone" in done.out
    assert token(77) not in done.out
    assert cli(*SCAN, two, "-q").out == ""


def test_a_sweep_of_unchanged_tags_starts_no_workers_and_imports_no_libraries_of_other_work(cli: Cli, two: str) -> None:
    cli(*SCAN, two)
    program = (
        "import sys\n"
        "from auditor.cli import main\n"
        f"try: main(['registry', 'scan', {two!r}, '--format', 'json', '--fail-on', 'never'])\n"
        "except SystemExit as exc: print(exc.code)\n"
        "other = {'alembic', 'apprise', 'jinja2', 'rich', 'prometheus_client', 'docker', 'hyperscan', 'psycopg2'}\n"
        "other.add('requests')\n"
        "own = {'scan', 'pipeline', 'provenance', 'extract', 'advice', 'images.archive', 'detect.rules'}\n"
        "print(sorted((other | {f'auditor.{name}' for name in own}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=cli.environment)
    assert out.stdout.splitlines()[-2:] == ["0", "[]"]


def test_a_store_of_ones_own_is_used(cli: Cli, two: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.sqlite"
    assert cli(*SCAN, two, "--store", url, "--format", "json").json["layers"]["read"] > 0
    assert cli(*SCAN, two, "--format", "json", IMAGE_AUDIT_STORE=url).json["layers"]["read"] == 0


def test_a_baseline_silences_what_is_known(cli: Cli, two: str) -> None:
    known = cli.folder / "known.yaml"
    assert cli("scan", f"docker://{two}/team/leaks:1", "--write-baseline", known, "-q").status == 1
    found = cli(*SCAN, two, "--baseline", known, "--format", "json")
    assert found.status == 0 and not any(item["by_severity"] for item in found.json["images"])


def test_the_config_file_says_what_is_swept(cli: Cli, two: str) -> None:
    (cli.folder / ".image-audit.yaml").write_text(f'registries: {{"{two}": {{repos: ["team/clean"]}}}}\n')
    found = cli(*SCAN, two, "--format", "json")
    assert [item["repository"] for item in found.json["images"]] == ["team/clean"]
    assert len(cli(*SCAN, two, "--repos", "*", "--format", "json").json["images"]) == 2


def test_an_image_can_be_left_out_by_its_name(cli: Cli, two: str) -> None:
    (cli.folder / ".image-audit.yaml").write_text(f'exclude: {{images: ["{two}/team/leaks:*"]}}\n')
    assert cli(*SCAN, two).status == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "name a registry"),
        (("not a host",), "'not a host' is not a registry"),
        (("127.0.0.1:1", "--keep", "soon"), "is not an age"),
        (("127.0.0.1:1", "--engine", "dask"), "--scheduler"),
        (("127.0.0.1:1", "--from", "missing"), "can't be read"),
        (("127.0.0.1:1", "--store", "nonsense"), "--store"),
        (("127.0.0.1:1", "--rate", "0"), "--rate"),
    ],
)
def test_bad_usage_is_one_line(cli: Cli, arguments: tuple[str, ...], word: str) -> None:
    done = cli(*SCAN, *arguments)
    assert done.status == 2 and word in done.err and len(done.err.splitlines()) == 1, done.err


def test_a_sweep_that_is_told_to_end_ends_at_once(cli: Cli, two: str, proxy_to: Callable[[str], Proxy]) -> None:
    proxy = proxy_to(two)
    proxy.delay_s = 1
    process = subprocess.Popen(
        [sys.executable, "-m", "auditor", *SCAN, proxy.address], env=cli.environment, cwd=cli.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not proxy.asked:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM and err == b"image-audit: terminated\n"
