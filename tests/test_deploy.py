"""What other programs read of this repository: the scripts in it run as they stand there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Cli, require
from tests.images import image, layer, token, whiteout

ROOT = Path(__file__).parent.parent
PROGRAM = Path(sys.executable).parent / "image-audit"


def leaking(path: Path) -> Path:
    return image(layer({"a.env": f"TOKEN={token(91)}\n"}), layer(whiteout("a.env"))).docker_archive(path)


def bash(script: str, cli: Cli, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=cli.folder,
        env={**cli.environment, "PATH": f"{PROGRAM.parent}:{cli.environment['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class TestAction:
    @pytest.fixture
    def steps(self) -> dict[str, Any]:
        action = yaml.safe_load((ROOT / "action.yml").read_text())
        return {step.get("id") or step["name"]: step for step in action["runs"]["steps"]}

    def scan(self, cli: Cli, steps: dict[str, Any], **inputs: str) -> tuple[str, str]:
        summary, output = cli.folder / "summary", cli.folder / "output"
        given = dict.fromkeys(steps["scan"]["env"], "") | {"SARIF": "found.sarif", **inputs}
        done = bash(
            steps["scan"]["run"], cli, **given | {"PROGRAM": str(PROGRAM)},
            GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(output),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return output.read_text(), summary.read_text()

    def test_it_writes_sarif_and_a_summary_and_hands_the_verdict_on(self, cli: Cli, steps: dict[str, Any]) -> None:
        leaking(cli.folder / "one app.tar")
        output, summary = self.scan(cli, steps, TARGETS="\n./one app.tar\n  \n", ARGUMENTS="--state deleted")
        assert output == "status=1\n" and "1 secret at 1 place" in summary
        sarif = json.loads((cli.folder / "found.sarif").read_text())
        assert len(sarif["runs"][0]["results"]) == 1
        assert bash(steps["Verdict"]["run"], cli, STATUS="1").returncode == 1
        assert self.scan(cli, steps, TARGETS="./one app.tar", FAIL_ON="never")[0].endswith("status=0\n")

    def test_a_target_is_never_taken_for_an_option_or_a_script(self, cli: Cli, steps: dict[str, Any]) -> None:
        output, _ = self.scan(cli, steps, TARGETS="--help\n$(touch made)")
        assert output == "status=2\n" and not (cli.folder / "made").exists()

    def test_no_input_is_text_of_a_script(self, steps: dict[str, Any]) -> None:
        assert not any("${{" in step.get("run", "") for step in steps.values())


@pytest.mark.registry
def test_the_gitlab_job_logs_in_and_writes_its_reports(cli: Cli, start_registry: Any) -> None:
    require(shutil.which("skopeo") is not None and shutil.which("htpasswd") is not None, "skopeo or htpasswd")
    users = cli.folder / "users"
    made = subprocess.run(["htpasswd", "-Bbn", "ci", "job-token"], capture_output=True, check=True).stdout
    users.write_bytes(made)
    host = start_registry(f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n")
    subprocess.run(
        [
            "skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", "ci:job-token",
            f"docker-archive:{leaking(cli.folder / 'app.tar')}", f"docker://{host}/team/app:1",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (ROOT / "deploy/gitlab/image-audit.gitlab-ci.yml").read_text()
    header, job = yaml.safe_load_all(text)
    assert set(header["spec"]["inputs"]) == {"package", "image", "stage", "options"}
    job = job["image-audit"]
    login = [line for line in job["before_script"] if not line.startswith("pip ")]
    done = bash(
        "\n".join([*login, *job["script"]]), cli, DOCKER_CONFIG=str(cli.folder / "docker"),
        CI_REGISTRY=host, CI_REGISTRY_USER="ci", CI_REGISTRY_PASSWORD="job-token",
        IMAGE_AUDIT_IMAGE=f"{host}/team/app:1", IMAGE_AUDIT_OPTIONS="--state deleted --quiet",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    report = json.loads((cli.folder / job["artifacts"]["reports"]["secret_detection"]).read_text())
    assert len(report["vulnerabilities"]) == 1
    assert (cli.folder / job["artifacts"]["reports"]["junit"]).exists()
    assert (cli.folder / job["artifacts"]["paths"][0]).exists()


def test_the_hook_of_the_pre_commit_framework_names_a_command(cli: Cli) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["stages"] == ["pre-push", "manual"] and not hook["pass_filenames"]
    done = bash(hook["entry"], cli)
    assert done.returncode == 0 and "nothing to audit" in done.stderr
    (repo,) = yaml.safe_load((ROOT / "deploy/pre-commit/.pre-commit-config.yaml").read_text())["repos"]
    assert [used["id"] for used in repo["hooks"]] == [hook["id"]]
