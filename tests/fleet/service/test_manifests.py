"""The parts of the Kubernetes manifests fit together: labels, ports, probes, mounts, secrets, arguments."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.config.file import load_config
from tests.fleet.service.test_deploy import DEPLOY, parsed

FILES = tuple(sorted((DEPLOY / "kubernetes").glob("*.yaml")))
WORKLOADS = ("Deployment", "StatefulSet", "CronJob")
Document = Mapping[str, Any]


@functools.cache
def loaded(path: Path) -> tuple[Document, ...]:
    return tuple(yaml.safe_load_all(path.read_text()))


def documents(path: Path, *kinds: str) -> list[Document]:
    """The documents of a file, of some kinds."""
    return [one for one in loaded(path) if not kinds or one["kind"] in kinds]


def template(workload: Document) -> Document:
    spec = workload["spec"]
    made: Document = (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]
    return made


def pods(path: Path) -> list[Document]:
    return [template(one) for one in documents(path, *WORKLOADS)]


def selects(selector: Mapping[str, Any], pod: Document) -> bool:
    """Whether a label selector matches a pod."""
    labels = pod["metadata"]["labels"]
    wanted = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    expressions = selector.get("matchExpressions", ())
    assert all(one["operator"] == "In" for one in expressions)
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def ports(pod: Document) -> dict[str | int, int]:
    """The ports of a pod by name and by number."""
    all_ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    numbers = {port["name"]: port["containerPort"] for port in all_ports}
    return {**numbers, **{number: number for number in numbers.values()}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestFile:
    def test_names_are_unique(self, path: Path) -> None:
        names = [(one["kind"], one["metadata"]["name"]) for one in documents(path)]
        assert len(set(names)) == len(names)

    def test_workloads_select_their_own_pods_alone(self, path: Path) -> None:
        for workload in documents(path, "Deployment", "StatefulSet"):
            own = [pod for pod in pods(path) if selects(workload["spec"]["selector"], pod)]
            assert own == [template(workload)]

    def test_services_lead_to_a_port_of_a_pod(self, path: Path) -> None:
        for service in documents(path, "Service"):
            (pod,) = [pod for pod in pods(path) if selects(service["spec"]["selector"], pod)]
            assert all(port.get("targetPort", port["port"]) in ports(pod) for port in service["spec"]["ports"])

    def test_policies_and_budgets_are_about_pods(self, path: Path) -> None:
        for policy in documents(path, "NetworkPolicy"):
            own = [pod for pod in pods(path) if selects(policy["spec"]["podSelector"], pod)]
            assert own
            for rule in policy["spec"].get("ingress", ()):
                assert all(port["port"] in ports(pod) for pod in own for port in rule.get("ports", ()))
        for budget in documents(path, "PodDisruptionBudget"):
            (workload,) = [
                one for one in documents(path, "Deployment") if selects(budget["spec"]["selector"], template(one))
            ]
            assert workload["spec"]["replicas"] > budget["spec"]["minAvailable"], "else no node can be drained"

    def test_probes_ask_a_port_of_the_container(self, path: Path) -> None:
        for pod in pods(path):
            for container in pod["spec"]["containers"]:
                named = {port["name"] for port in container.get("ports", ())}
                probes = [value for key, value in container.items() if key.endswith("Probe")]
                assert all(probe["httpGet"]["port"] in named for probe in probes if "httpGet" in probe)

    def test_mounts_have_a_volume_each_and_keys_that_exist(self, path: Path) -> None:
        maps = {one["metadata"]["name"]: set(one["data"]) for one in documents(path, "ConfigMap")}
        for workload in documents(path, *WORKLOADS):
            pod = template(workload)["spec"]
            claims = [one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", ())]
            volumes = [volume["name"] for volume in pod.get("volumes", ())] + claims
            mounts = [mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", ())]
            assert sorted(volumes) == sorted(mounts)
            for volume in pod.get("volumes", ()):
                if source := volume.get("configMap"):
                    assert {item["key"] for item in source["items"]} <= maps[source["name"]]


WATCH = DEPLOY / "kubernetes/registry-watch.yaml"


def container(component: str) -> Document:
    (pod,) = [pod for pod in pods(WATCH) if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    (only,) = pod["spec"]["containers"]
    found: Document = only
    return found


def readable(component: str) -> dict[str, str]:
    """Paths of the files that volumes of secrets and config maps put into a container, with their keys."""
    (pod,) = [pod for pod in pods(WATCH) if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    items = {
        volume["name"]: (volume.get("secret") or volume["configMap"])["items"]
        for volume in pod["spec"]["volumes"] if volume.keys() & {"secret", "configMap"}
    }  # fmt: skip
    return {
        f"{mount['mountPath']}/{item['path']}": item["key"]
        for mount in container(component)["volumeMounts"] for item in items.get(mount["name"], ())
    }  # fmt: skip


def test_policies_admit_nothing_to_the_pods_of_other_files() -> None:
    """Policies add up: one that selects the database, too, would open it."""
    for path in FILES:
        own = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods(path)}
        others = [pod for other in FILES for pod in pods(other)]
        for policy in documents(path, "NetworkPolicy"):
            chosen = [pod for pod in others if selects(policy["spec"]["podSelector"], pod)]
            assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in chosen} <= own


def test_every_pod_with_the_store_of_the_secret_is_admitted_to_the_database() -> None:
    (policy,) = [one for one in documents(WATCH, "NetworkPolicy") if one["metadata"]["name"] == "image-audit-database"]
    (rule,) = policy["spec"]["ingress"]
    for pod in (pod for path in FILES for pod in pods(path)):
        if "IMAGE_AUDIT_STORE" in str(pod):
            assert any(selects(source["podSelector"], pod) for source in rule["from"])


@pytest.mark.parametrize("component", ["watch", "dashboard"])
def test_arguments_and_variables_name_files_and_ports_of_the_container(component: str) -> None:
    own, files = container(component), readable(component)
    given = parsed(own["args"])
    host, _, port = str(given["listen"]).rpartition(":")
    assert host == "0.0.0.0" and [one["containerPort"] for one in own["ports"]] == [int(port)]
    variables = {one["name"]: one["value"] for one in own["env"]}
    (config,) = [word.partition("=")[2] for word in own["args"] if word.startswith("--config=")]
    assert files[config] == "image-audit.yaml"
    assert all(value in files for name, value in variables.items() if name.endswith("_FILE"))
    if component == "watch":
        assert files[f"{variables['DOCKER_CONFIG']}/config.json"] == ".dockerconfigjson"


def test_the_config_of_the_manifests_is_valid(tmp_path: Path) -> None:
    (config,) = documents(WATCH, "ConfigMap")
    (tmp_path / "image-audit.yaml").write_text(config["data"]["image-audit.yaml"])
    assert load_config(tmp_path / "image-audit.yaml").owners


def test_the_docs_create_every_key_that_the_manifests_read() -> None:
    text = (DEPLOY.parent / "docs/schedule.md").read_text()
    read = {key for component in ("watch", "dashboard", "database") for key in readable(component).values()}
    created = {key for key in read if f"--from-literal={key}=" in text or f"--from-file={key}=" in text}
    assert created == read - {"image-audit.yaml", "reader.sh", ".dockerconfigjson"}
