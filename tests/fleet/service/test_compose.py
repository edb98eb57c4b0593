"""deploy/compose: valid for Docker Compose, and its containers run on an engine without a network.

No image can be downloaded: an empty image with the programs of this machine stands for both. The containers share a
network namespace that has loopback only, with a registry.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.config.file import load_config
from tests.conftest import free_port, require, wait_for_port
from tests.fleet.planted import Remote, application
from tests.fleet.service.test_deploy import DEPLOY, IMAGE, PROGRAM, parsed
from tests.images import token

pytestmark = pytest.mark.xdist_group("compose")  # one set of running services
COMPOSE = DEPLOY / "compose"
REGISTRY = "127.0.0.1:5000"
USER = 65532
# Stands for the entrypoint of the image `postgres`: it creates the database, then runs the server. The encoding is
# SQL_ASCII, because there is no locale.
DATABASE = r"""
set -eu
PATH=$$(echo /usr/lib/postgresql/*/bin):$$PATH
data=/var/lib/postgresql/data/own
options="-c fsync=off -c unix_socket_directories=/run/postgresql"
initdb --pgdata="$$data" --username="$$POSTGRES_USER" --pwfile="$$POSTGRES_PASSWORD_FILE" --auth-local=trust \
    --auth-host=scram-sha-256 --no-sync >/dev/null
pg_ctl --pgdata="$$data" --wait --silent --options="$$options -c listen_addresses=''" start
createdb --host=/run/postgresql --username="$$POSTGRES_USER" "$$POSTGRES_DB"
PGHOST=/run/postgresql sh /docker-entrypoint-initdb.d/reader.sh
pg_ctl --pgdata="$$data" --wait --silent stop
exec postgres -D "$$data" $$options -c listen_addresses=127.0.0.1
"""


@dataclass(frozen=True)
class Project:
    """Files of a running project, and the commands of Docker Compose."""

    folder: Path
    name: str

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["docker", "compose", "--project-name", self.name, "--file", "compose.yaml", "--file", "here.yaml"]
        done = subprocess.run(
            [*command, *arguments], cwd=self.folder, capture_output=True, text=True, check=False,
            env={**os.environ, "REGISTRY": REGISTRY},
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done

    def python(self, service: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program in a container."""
        return self("exec", "-T", service, sys.executable, "-c", program, *arguments, check=False)


@pytest.fixture(scope="module")
def engine_image(engine: str) -> Iterator[str]:
    """An image with the folders and links of a file system, and no program."""
    require(os.geteuid() == 0, "root, to own files as users of containers do,")
    found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    require(found.returncode == 0, "Docker Compose")
    data, name = io.BytesIO(), f"image-audit-compose:{os.getpid()}"
    with tarfile.open(fileobj=data, mode="w") as tar:
        for folder in ("etc", "run", "tmp", "usr", "var/lib/postgresql/data"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            entry.uid = entry.gid = 999 if folder.endswith("data") else 0
            tar.addfile(entry)
        for link in ("bin", "lib", "lib64", "sbin"):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            tar.addfile(entry)
        users = b"root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(users)
        tar.addfile(entry, io.BytesIO(users))
    subprocess.run(["docker", "import", "-", name], input=data.getvalue(), capture_output=True, check=True)
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)


def here(image: str, cache: Path, registry: Path) -> str:
    """The file that makes the services run here."""
    programs = [f"{path}:{path}:ro" for path in sorted({"/usr", sys.prefix, sys.base_prefix, str(DEPLOY.parent)})]
    common = {"image": image, "network_mode": "service:database"}

    def healthy(port: int) -> dict[str, Any]:
        program = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/livez')"
        return {"test": ["CMD", sys.executable, "-c", program], "start_interval": "1s"}

    services: dict[str, Any] = {
        "watch": {
            **common, "entrypoint": [str(PROGRAM)], "volumes": [*programs, f"{cache}:/tmp/image-audit"],
            "healthcheck": healthy(9464),
        },
        "dashboard": {
            **common, "entrypoint": [str(PROGRAM)], "volumes": programs, "healthcheck": healthy(8080),
        },
        "database": {
            "image": image, "network_mode": "none", "extra_hosts": ["database:127.0.0.1"], "volumes": ["/usr:/usr:ro"],
            "entrypoint": ["/bin/sh", "-c", DATABASE], "healthcheck": {"start_interval": "1s"},
        },
        "registry": {
            **common, "entrypoint": ["docker-registry", "serve", f"{registry}/config.yml"], "read_only": True,
            "volumes": ["/usr:/usr:ro", f"{registry}:{registry}:ro"],
        },
    }  # fmt: skip
    text = yaml.safe_dump({"services": services})
    # Networks and published ports do not exist here.
    return text.replace("    network_mode:", "    networks: !reset []\n    ports: !reset []\n    network_mode:")


def registry_folder(folder: Path) -> Path:
    """The folder of a registry with one leaking image, and the configuration to serve it in a container."""
    folder.mkdir()
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {folder}/data}}\n"
        f"http: {{addr: {REGISTRY}}}\n"
    )
    port = free_port()
    process = subprocess.Popen(
        ["docker-registry", "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}"},
    )  # fmt: skip
    try:
        wait_for_port(port, process)
        Remote(f"127.0.0.1:{port}").push("team/app", "1", application(0, "app", token(1)))
    finally:
        process.terminate()
        process.wait()
    return folder


def private_cache(folder: Path, kept: tuple[Path, ...]) -> Path:
    """A cache with the compiled rules, of the user of the containers."""
    folder.mkdir()
    for path in kept:
        shutil.copy(path, folder)
    for path in (folder, *folder.iterdir()):
        os.chown(path, USER, USER)
    return folder


@pytest.fixture(scope="module")
def project(engine_image: str, kept: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The running services."""
    require(shutil.which("docker-registry") is not None, "docker-registry")
    folder = tmp_path_factory.mktemp("compose")
    shutil.copytree(COMPOSE, folder, dirs_exist_ok=True)
    done = subprocess.run(
        ["sh", "secrets.sh"], cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "NOTIFY": "http://127.0.0.1:1/hook"},
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    text = here(engine_image, private_cache(folder / "cache", kept), registry_folder(folder / "registry"))
    (folder / "here.yaml").write_text(text)
    made = Project(folder, f"image-audit-test-{os.getpid()}")
    try:
        made("up", "--detach", "--wait")
        yield made
    finally:
        made("down", "--volumes", "--timeout", "20", check=False)


LOOK = """
import json, os, pathlib, time, urllib.request
def page(address):
    return urllib.request.urlopen(f"http://127.0.0.1:{address}").read().decode()
for _ in range(600):
    try:
        health = json.loads(page("8080/healthz"))
        break
    except OSError:  # it does not listen yet, or there is no dashboard yet
        time.sleep(0.1)
try:
    pathlib.Path("/usr/file").touch()
    written = True
except OSError:
    written = False
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "secrets": json.loads(page("8080/json/secrets.json")), "metrics": page("9464/metrics"), "uid": os.getuid(),
    "written": written, "capabilities": status["CapEff"].strip("\t0"), "gain": status["NoNewPrivs"].strip(),
    "environment": dict(os.environ),
}))
"""
CHANGE = """
import psycopg2
connection = psycopg2.connect(open("/run/secrets/dashboard-store").read().strip())
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("SELECT count(*) FROM finding")
print(cursor.fetchone()[0])
cursor.execute("SET default_transaction_read_only = off")
cursor.execute("DELETE FROM finding")
"""


def test_the_dashboard_shows_the_first_sweep_and_containers_have_no_rights(project: Project) -> None:
    states = [json.loads(line) for line in project("ps", "--format", "json").stdout.splitlines()]
    assert {one["Service"]: one["Health"] for one in states if one["Health"]} == dict.fromkeys(
        ("watch", "dashboard", "database"), "healthy"
    )
    done = project.python("dashboard", LOOK)
    assert done.returncode == 0, done.stderr + project("logs").stdout
    found = json.loads(done.stdout)
    assert [(one["severity"], one["repositories"]) for one in found["secrets"]] == [("critical", "team/app")]
    assert 'image_audit_sweeps_total{registry="127.0.0.1:5000",result="good"} 1.0' in found["metrics"]
    assert (found["uid"], found["written"], found["capabilities"], found["gain"]) == (USER, False, "", "1")
    passwords = [(project.folder / "secrets" / name).read_text() for name in ("store", "dashboard-password", "notify")]
    shown = project("logs").stdout + json.dumps(found["environment"])
    assert not [text for text in (*passwords, token(1)) if text.strip() in shown]


def test_the_web_server_cannot_change_the_store(project: Project) -> None:
    assert project.python("dashboard", LOOK).returncode == 0, "there is no sweep yet"
    done = project.python("dashboard", CHANGE)
    assert done.stdout == "1\n" and "permission denied for table finding" in done.stderr


def test_a_stopped_watch_ends_well(project: Project) -> None:
    project("stop", "watch")
    (state,) = [json.loads(line) for line in project("ps", "--all", "--format", "json", "watch").stdout.splitlines()]
    assert (state["State"], state["ExitCode"]) == ("exited", 0)


def test_the_arguments_and_the_config_are_valid() -> None:
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    for name in ("watch", "dashboard"):
        given = parsed([REGISTRY if word.startswith("${REGISTRY") else word for word in services[name]["command"]])
        assert given["registry"] == REGISTRY and services[name]["image"] == IMAGE
    assert load_config(COMPOSE / "image-audit.yaml").owners


@pytest.mark.parametrize("login", [None, {"auths": {}}])
def test_the_script_creates_missing_secrets_and_keeps_others(tmp_path: Path, login: dict[str, Any] | None) -> None:
    shutil.copy(COMPOSE / "secrets.sh", tmp_path)
    if login is not None:
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(json.dumps(login))

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment}
        return subprocess.run(
            ["sh", tmp_path / "secrets.sh"], env=variables, capture_output=True, text=True, check=False
        )

    assert run().returncode != 0 and not (tmp_path / "secrets").exists(), "without a receiver"
    assert run(NOTIFY="https://hooks.example.com/a").returncode == 0
    files = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(files) == {
        Path(one["file"]).name for one in yaml.safe_load((COMPOSE / "compose.yaml").read_text())["secrets"].values()
    }
    assert files["store"] == f"postgresql://image_audit:{files['database-password']}@database/image_audit\n"
    assert len(files["database-password"]) == 48 and files["database-password"] != files["dashboard-password"]
    assert json.loads(files["config.json"]) == (login or {}) and files["notify"] == "https://hooks.example.com/a\n"
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert run(NOTIFY="https://hooks.example.com/b").returncode == 0
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == files
