"""The first run after an installation: no bytecode, and no module that a worker thread imports first.

Two threads that import modules with import cycles at once, as detect-secrets has them, can lock each other out.
"""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from auditor.detect.rules import builtin_rules
from auditor.rulebook.examples import fill
from tests.conftest import Cli, require
from tests.extract.build import deb, rpm
from tests.extract.test_archives import seven_zipped, zipped
from tests.extract.test_compiled import database
from tests.fleet.planted import Remote
from tests.images import Built, image, layer, step, token, whiteout, zstd
from tests.nursery import ROOT
from tests.transports.tokens import PASSWORD, USER

PLUGIN_BAIT = 'aws_key = "AKIA{}"\npassword = "xK9#mQ2$vL7pW4"\nurl: https://u:xK9mQ2vL7pW4@example.org/\n'


@cache
def everything() -> Built:
    """An image with an example of each kind of rule, and an archive of each format."""
    seeds = count(7000)
    kinds = {(rule.check, rule.generic, rule.random, bool(rule.paths), rule.entropy): rule for rule in builtin_rules()}
    files: dict[str, bytes | str] = {
        f"rules/{rule.id}": fill(rule.examples[0], next(seeds)) + "\n" for rule in kinds.values()
    }
    secret = f"TOKEN={token(7)}\n".encode()
    packed = {
        "a.zip": zipped({"x.env": secret}),
        "b.zip": zipped({"x.env": secret}, method=14),
        "a.7z": seven_zipped({"x.env": secret}),
        "a.gz": lzma.compress(secret),
        "a.bz2": bz2.compress(secret),
        "a.zst": zstd(secret),
        "a.tar.zst": zstd(layer({"x.env": secret})),
        "a.deb": deb({"x.env": secret}),
        "a.rpm": rpm({"x.env": secret}),
        "a.db": database("CREATE TABLE t (v TEXT)", f"INSERT INTO t VALUES ('{token(8)}')"),
        "a.pyc": b"\xa7\r\r\n" + bytes(12) + b"\xe3",
    }
    bait = {f"bait/{number}.py": PLUGIN_BAIT.format("Q7WXJ5ZK2M3N4P6R") for number in range(20)}
    return image(
        layer({**files, **packed, **bait, "gone.txt": secret}),
        layer(whiteout("gone.txt"), packed),
        history=[step("COPY . /"), step(f"RUN rm gone.txt # {token(9)}")],
    )


@pytest.fixture(scope="module")
def remote(start_registry: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry that wants a login."""
    require(shutil.which("htpasswd") is not None, "htpasswd")
    made = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, check=True).stdout
    file = tmp_path_factory.mktemp("login") / "htpasswd"
    file.write_bytes(made)
    address: str = start_registry(f"auth:\n  htpasswd: {{realm: lab, path: {file}}}\n")
    session = requests.Session()
    session.auth = (USER, PASSWORD)
    for number in range(2):
        Remote(address, session).push(f"team/app{number}", "1", everything())
    return address


def imported_in_threads(cli: Cli, *command: object) -> list[Any]:
    """The modules that other threads than the main one imported first while a command ran."""
    return _recorded(cli, "-m", "tests.security.recorder", cli.folder / "imports.json", *command)


def _recorded(cli: Cli, *arguments: object) -> list[Any]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cli.folder, capture_output=True, check=False,
        env={**cli.environment, "PYTHONPATH": str(ROOT)}, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr.decode()
    found: list[Any] = json.loads((cli.folder / "imports.json").read_text())
    return found


LOCAL = {
    "scan": ["scan", "a.tar", "--no-cache", "--min-confidence", "low", "-o", "r.html", "-o", "r.sarif"],
    "scan of a compressed archive": ["scan", "a.tar.gz", "--no-cache"],
    "history": ["history", "oci:layout"],
    "recover": ["recover", "a.tar", "/gone.txt"],
    "flatten": ["flatten", "a.tar", "-o", "flat.tar"],
    "flatten --excise": ["flatten", "oci:layout", "-o", "flat.oci", "--excise"],
    "hook": ["hook", "run"],
}


@pytest.mark.parametrize("name", LOCAL)
def test_no_thread_imports_a_module_first(cli: Cli, name: str) -> None:
    archive = everything().docker_archive(cli.folder / "a.tar")
    (cli.folder / "a.tar.gz").write_bytes(zstd(archive.read_bytes()))
    everything().oci_folder(cli.folder / "layout", "zstd")
    (cli.folder / ".image-audit.yaml").write_text("images: [./a.tar, ./a.tar.gz]\nfail_on: never\n")
    assert imported_in_threads(cli, *LOCAL[name]) == []


REMOTE = {
    "scan": ["scan", "docker://{}/team/app0:1", "docker://{}/team/app1:1", "--no-cache"],
    "history": ["history", "docker://{}/team/app0:1"],
    "flatten": ["flatten", "docker://{}/team/app0:1", "--push", "{}/team/flat:1"],
    "sweep": ["registry", "scan", "{}", "--no-cache", "--report", "site", "--fail-on", "never"],
}


@pytest.mark.parametrize("name", REMOTE)
def test_no_thread_that_reads_a_registry_imports_a_module_first(cli: Cli, remote: str, name: str) -> None:
    folder = Path(cli.environment["DOCKER_CONFIG"])
    folder.mkdir()
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {remote: {"auth": auth}}}))
    assert imported_in_threads(cli, *(word.format(remote) for word in REMOTE[name])) == []


def test_no_thread_of_the_api_imports_a_module_first(cli: Cli) -> None:
    everything().docker_archive(cli.folder / "a.tar")
    code = (
        "from pathlib import Path\nfrom tests.security.recorder import record\nrecord(Path('imports.json'))\n"
        "from auditor import audit\naudit('a.tar', 'a.tar', cache=False)"
    )
    assert _recorded(cli, "-c", code) == []


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package without bytecode."""
    folder = tmp_path_factory.mktemp("fresh")
    for name in ("auditor", "rules", "reports"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder


@pytest.mark.parametrize("run", range(3))
def test_a_cold_start_under_load_finishes(cli: Cli, fresh: Path, run: int) -> None:
    """No bytecode, threads that switch all the time, and another scan that starts beside it."""
    everything().docker_archive(cli.folder / "a.tar")
    code = (
        "import sys\nsys.setswitchinterval(1e-6)\nfrom auditor.cli import main\n"
        "main(['scan', 'a.tar', '--no-cache', '--jobs', '8', '--format', 'json'])"
    )
    environment = {
        **cli.environment, "PYTHONPATH": str(fresh), "PYTHONPYCACHEPREFIX": str(cli.folder / f"bytecode{run}"),
    }  # fmt: skip
    command = [sys.executable, "-c", code]
    begun = [
        subprocess.Popen(command, cwd=cli.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outs = [process.communicate(timeout=300) for process in begun]
    assert [process.returncode for process in begun] == [1, 1], outs[0][1]
    findings = [json.loads(out)["findings"] for out, _ in outs]
    assert findings[0] == findings[1] and len(findings[0]) > 100
    assert [err for _, err in outs] == [b"", b""]
