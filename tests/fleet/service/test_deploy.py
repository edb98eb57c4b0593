"""Files of deploy/: accepted by systemd, Kubernetes, Dask and GitLab, with existing options."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from auditor import __version__
from auditor.cli import group
from auditor.cli.registry import command
from tests.conftest import Cli, require
from tests.fleet.planted import Remote, application
from tests.images import token

DEPLOY = Path(__file__).parents[3] / "deploy"
PROGRAM = Path(sys.executable).parent / "image-audit"
IMAGE = f"registry.example.com/tools/image-audit:{__version__}"
SERVICES = ("image-audit-registry.service", "image-audit-watch.service", "image-audit-dashboard.service")
UNITS = (*SERVICES, "image-audit-registry.timer")
PARENT = click.Context(group, help_option_names=["-h", "--help"])  # click keeps the help option of a first context


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What the command line takes from arguments. Fails where it knows one not."""
    assert isinstance(command, click.Group) and arguments[0] == "registry"
    return command.commands[arguments[1]].make_context("registry", arguments[2:], parent=PARENT).params


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    require(shutil.which("systemd-analyze") is not None, "systemd-analyze")
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/image-audit", str(PROGRAM)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_rates_the_services_as_well_confined(name: str) -> None:
    require(shutil.which("systemd-analyze") is not None, "systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=11", "--no-pager", DEPLOY / "systemd" / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def unit(name: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a unit whose folders lie in another one, with the variables of the docs."""
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    specifiers = {"%S": folder / "lib", "%C": folder / "cache", "%d": folder / "credentials"}

    def expanded(word: str) -> str:
        for key, path in specifiers.items():
            word = word.replace(key, str(path))
        return word

    (line,) = [line for line in lines if line.startswith("ExecStart=")]
    for key, value in {"$OPTIONS": "--newest 5 --keep 365d", "$DASHBOARD_OPTIONS": "--listen 127.0.0.1:8080"}.items():
        line = line.replace(key, value)
    line = line.replace("${CRON}", "'17 */6 * * *'").replace("${REGISTRY}", "registry.example.com/team")
    pairs = [word.partition("=") for one in lines if one.startswith("Environment=") for word in one[12:].split()]
    return [expanded(word) for word in shlex.split(line.partition("=")[2])], {
        key: expanded(value) for key, _, value in pairs
    }


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_run_commands_that_there_are(name: str, tmp_path: Path) -> None:
    command, _ = unit(name, tmp_path)
    given = parsed(command[1:])
    assert given["registry"] == "registry.example.com/team"
    if command[2] != "serve":
        assert given["newest"] == 5 and str(given["report_dir"]) == f"{tmp_path}/lib/image-audit/site"


@pytest.mark.registry
def test_a_service_sweeps_in_its_own_folders(cli: Cli, address: str, tmp_path: Path) -> None:
    Remote(address).push("team/app", "1", application(0, "app", token(1)))
    command, environment = unit("image-audit-registry.service", tmp_path)
    del environment["XDG_CACHE_HOME"]  # the rules are compiled in the cache of the tests
    done = cli(*[word.replace("registry.example.com/team", address) for word in command[1:]], **environment)
    assert (done.status, done.out, done.err) == (0, "", "")
    assert {path.name for path in (tmp_path / "lib/image-audit").iterdir()} >= {"registry.sqlite", "site"}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield f"{path.stem} {document['kind']} {document['metadata']['name']}", document


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in documents()])
def test_kubernetes_takes_the_manifests(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.31", strict=True)


def test_the_cron_jobs_run_commands_that_there_are() -> None:
    jobs = [document for _, document in documents() if document["kind"] == "CronJob"]
    assert len(jobs) == 2
    for job in jobs:
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        given = parsed(container["args"])
        assert given["fail_on"] == "never"  # a job that fails is run again
    assert given["engine"] == "dask" and given["scheduler"] == "tcp://image-audit-dask:8786"


def test_every_part_of_the_cluster_is_of_one_image_and_may_do_little() -> None:
    pods = [
        document["spec"]["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob"
        else document["spec"]["template"]
        for _, document in documents() if document["kind"] in ("CronJob", "Deployment")
    ]  # fmt: skip
    containers = [container for pod in pods for container in pod["spec"]["containers"]]
    assert {container["image"] for container in containers} == {IMAGE}
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)
    assert all(pod["spec"]["securityContext"]["runAsNonRoot"] for pod in pods)
    assert not any(pod["spec"]["automountServiceAccountToken"] for pod in pods)


def cluster_in_the_docs() -> dict[str, Any]:
    """The object of dask-kubernetes that docs/scale.md shows."""
    text = (DEPLOY.parent / "docs/scale.md").read_text()
    (block,) = re.findall(r"```yaml\n(apiVersion: kubernetes\.dask\.org.*?)```", text, flags=re.DOTALL)
    value: dict[str, Any] = yaml.safe_load(block)
    return value


def test_dask_knows_the_commands_of_its_scheduler_and_workers() -> None:
    specs = [document["spec"]["template"]["spec"] for _, document in documents() if document["kind"] == "Deployment"]
    specs += [part["spec"] for part in cluster_in_the_docs()["spec"].values()]
    commands = [one["command"] for spec in specs for one in spec["containers"] if "command" in one]
    assert sorted(command[1] for command in commands) == ["scheduler", "scheduler", "worker", "worker"]
    for program, kind, *arguments in commands:
        assert program == "dask"
        {"scheduler": dask_scheduler, "worker": dask_worker}[kind].make_context(kind, arguments)


def test_the_cluster_in_the_docs_is_one_that_the_operator_takes() -> None:
    found = cluster_in_the_docs()
    name, worker, scheduler = found["metadata"]["name"], found["spec"]["worker"], found["spec"]["scheduler"]
    assert (found["apiVersion"], found["kind"], set(found["spec"])) == (
        "kubernetes.dask.org/v1", "DaskCluster", {"worker", "scheduler"},
    )  # fmt: skip
    assert set(worker) == {"replicas", "spec"} and set(scheduler) == {"spec", "service"}
    parts = (("Pod", worker["spec"]), ("Pod", scheduler["spec"]), ("Service", scheduler["service"]))
    for kind, spec in parts:
        document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "part"}, "spec": spec}
        kubernetes_validate.validate(document, "1.31", strict=True)
    assert scheduler["service"]["selector"] == {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    assert f"tcp://{name}-scheduler:8786" in (DEPLOY.parent / "docs/scale.md").read_text()
    assert {container["image"] for spec in (worker, scheduler) for container in spec["spec"]["containers"]} == {IMAGE}


def test_the_dockerfile_copies_what_there_is_and_runs_the_program(cli: Cli) -> None:
    path = DEPLOY / "kubernetes/Dockerfile"
    lines = path.read_text().splitlines()
    copied = [shlex.split(line)[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    assert copied and all((DEPLOY.parent / name).exists() for names in copied for name in names)
    assert {"auditor", "rules", "reports", "requirements.lock"} <= {name for names in copied for name in names}
    assert lines[-1] == 'ENTRYPOINT ["image-audit"]' and any(IMAGE in line for line in lines)
    done = cli("dockerfile", path, "--format", "json")
    assert (done.status, done.json["findings"]) == (0, [])


@pytest.mark.registry
def test_the_gitlab_schedule_logs_in_and_writes_the_dashboard(cli: Cli, start_registry: Any) -> None:
    require(shutil.which("htpasswd") is not None, "htpasswd")
    import requests

    users = cli.folder / "users"
    users.write_bytes(subprocess.run(["htpasswd", "-Bbn", "ci", "job-token"], capture_output=True, check=True).stdout)
    host = start_registry(f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n")
    session = requests.Session()
    session.auth = ("ci", "job-token")
    Remote(host, session).push("team/app", "1", application(0, "app", token(1)))
    (cli.folder / "images.txt").write_text("team/app\n")
    header, jobs = yaml.safe_load_all((DEPLOY / "gitlab/registry.gitlab-ci.yml").read_text())
    assert set(header["spec"]["inputs"]) == {"package", "registry", "images", "options", "stage"}
    job = jobs["image-audit-registry"]
    script = [line for line in job["before_script"] if not line.startswith("pip ")] + job["script"]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", "\n".join(script)],
        cwd=cli.folder,
        env={
            **cli.environment, "PATH": f"{PROGRAM.parent}:{cli.environment['PATH']}",
            "DOCKER_CONFIG": str(cli.folder / "docker"), "XDG_DATA_HOME": str(cli.folder / ".image-audit-data"),
            "CI_REGISTRY": host, "CI_REGISTRY_USER": "ci", "CI_REGISTRY_PASSWORD": "job-token",
            "IMAGE_AUDIT_REGISTRY": host, "IMAGE_AUDIT_IMAGES": "images.txt",
            "IMAGE_AUDIT_OPTIONS": header["spec"]["inputs"]["options"]["default"] + " --format json",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["images"][0]["by_severity"] == {"critical": 1}
    assert (cli.folder / job["artifacts"]["paths"][0] / "index.html").exists()
    assert any((cli.folder / path).exists() for path in job["cache"]["paths"])
