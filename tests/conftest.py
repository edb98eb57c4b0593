"""Fixtures: a scrubbed environment, the command line, and the real services that tests talk to."""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auditor.detect.detect_secrets_plugins import plugin_rules
from auditor.detect.matcher import Matcher
from auditor.detect.rule_cache import cached_builtin_rules
from auditor.detect.rules import Ruleset, builtin_rules, select
from auditor.scan import Scanner
from tests.browser import browser, idle_tabs, open_page
from tests.fleet.proxy import Proxy
from tests.nursery import Nursery

__all__ = ["browser", "idle_tabs", "open_page"]  # fixtures of their own file

CI = bool(os.environ.get("CI"))


def require(condition: bool, what: str) -> None:
    """Skip where a service is missing; in CI that is a failure."""
    if not condition:
        if CI:
            pytest.fail(f"{what} is missing, and CI skips nothing")
        pytest.skip(f"{what} is missing")


@dataclass(frozen=True)
class Result:
    """What a command did."""

    status: int
    out: str
    err: str
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


CACHE = Path(tempfile.gettempdir()) / f"image-audit-tests-{os.getuid()}" / "image-audit"
"""One cache of compiled rules for all tests, which would else compile them hundreds of times."""


@pytest.fixture(scope="session")
def cache(ruleset: Ruleset) -> Path:
    """CACHE, with the compiled rules."""
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (CACHE / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process compiles the rules, the others load them
        cached_builtin_rules(CACHE)
        Matcher(ruleset, CACHE)
        Matcher(select(builtin_rules()), CACHE)  # what `rules check` compares with
    return CACHE


@pytest.fixture(scope="session")
def kept(cache: Path) -> tuple[Path, ...]:
    """The files of that cache, which a test's own cache begins with."""
    return tuple(cache.glob("rules-*"))


@pytest.fixture
def environment(tmp_path: Path, kept: tuple[Path, ...]) -> dict[str, str]:
    return scrubbed(tmp_path / "home", kept)


def scrubbed(home: Path, kept: tuple[Path, ...]) -> dict[str, str]:
    """A scrubbed environment: no config, no credentials, no engine but the one of the test, no layer that is known."""
    own_cache = home / "cache" / "image-audit"
    own_cache.mkdir(parents=True)
    for path in kept:
        (own_cache / path.name).symlink_to(path)
    keep = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if key in os.environ}
    return {
        **keep,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(own_cache.parent),
        "DOCKER_CONFIG": str(home / "docker"),
        "DOCKER_HOST": f"unix://{home}/no-engine.sock",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",  # a test that limits file sizes would leave half a module to all others
    }


_AT_START = ("PYTHON", "LD_", "IMAGE_AUDIT_MATCHER")
"""Beginnings of the names of variables that count when a process starts: it can't be forked from one that has."""


@functools.cache
def started_nursery() -> Nursery:
    """The nursery of this process of pytest."""
    made = Nursery()
    atexit.register(made.close)
    return made


class Cli:
    """Runs the command in a process of its own: forked from one that has imported it, which saves most of the time.

    `python -m auditor` is started as users do where standard input is a file, or the environment counts at the start.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder

    def __call__(self, *arguments: object, stdin: Any = None, **environment: str) -> Result:
        variables = {**self.environment, **environment}
        if not hasattr(stdin, "fileno") and not any(name.startswith(_AT_START) for name in environment):
            words = [str(word) for word in arguments]
            forked = started_nursery().run(words, variables, self.folder, stdin or b"", umask=0o022, watched=False)
            return Result(forked.status, forked.out.decode(errors="replace"), forked.err.decode(), forked.out)
        done = subprocess.run(
            [sys.executable, "-m", "auditor", *map(str, arguments)],
            capture_output=True,
            env=variables,
            cwd=self.folder,
            check=False,
            timeout=300,
            **({"stdin": stdin} if hasattr(stdin, "fileno") else {"input": stdin or b""}),
        )
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(), done.stdout)


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    work = tmp_path / "work"
    work.mkdir()
    return Cli(environment, work)


@pytest.fixture(scope="session")
def ruleset() -> Ruleset:
    return select((*builtin_rules(), *plugin_rules()))


@pytest.fixture(scope="session")
def scanner(ruleset: Ruleset, cache: Path) -> Iterator[Scanner]:
    made = Scanner(ruleset, 1, cache=cache)  # what tests patch concerns this process alone
    yield made
    made.close()


@pytest.fixture(scope="session")
def engine() -> str:
    """The address of a real Docker engine."""
    address = "unix:///var/run/docker.sock"
    done = (
        subprocess.run(["docker", "-H", address, "info"], capture_output=True, check=False)
        if shutil.which("docker")
        else None
    )
    require(done is not None and done.returncode == 0, "a Docker engine")
    return address


def docker(*arguments: str) -> str:
    """Run the docker command; return what it prints."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "the service ended at once"
        time.sleep(0.05)
    pytest.fail(f"nothing answers on port {port}")


@pytest.fixture(scope="session")
def start_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start real registries; returns their address. `auth` is a registry's auth section, as YAML text.

    `http` is more of its http section, as a YAML flow: `, tls: {…}`.
    """
    require(shutil.which("docker-registry") is not None, "docker-registry")
    processes: list[subprocess.Popen[bytes]] = []

    def start(auth: str = "", http: str = "") -> str:
        folder, port = tmp_path_factory.mktemp("registry"), free_port()
        config = folder / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {folder}/data}}\n"
            f'  delete: {{enabled: true}}\nhttp: {{addr: "127.0.0.1:{port}"{http}}}\n{auth}'
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        processes.append(process)
        wait_for_port(port, process)
        return f"127.0.0.1:{port}"

    yield start
    for process in processes:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def registry(start_registry: Any) -> str:
    address: str = start_registry()
    return address


@pytest.fixture
def proxy_to() -> Iterator[Callable[[str], Proxy]]:
    """Start proxies before registries."""
    made: list[Proxy] = []

    def start(upstream: str) -> Proxy:
        made.append(Proxy(upstream))
        return made[-1]

    yield start
    for proxy in made:
        proxy.close()
