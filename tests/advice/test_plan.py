"""The action plan: commands that fit the target, remedies that fit the step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.advice.action_plan import action_plan
from auditor.advice.flatten_advice import flatten_command
from auditor.advice.remedy import build_fix
from auditor.images.source import Image
from auditor.pipeline import Audit
from auditor.report.plan_text import plan_steps
from auditor.scan import Scanner
from tests.images import image, layer, step, token, whiteout
from tests.report.test_report import audited


@pytest.fixture
def one(tmp_path: Path, scanner: Scanner) -> Audit:
    built = image(layer({"a": token(700)}), layer(whiteout("a")), names=("registry.example.com/app:1", "latest"))
    return audited(built, tmp_path, scanner)


def at(audit: Audit, transport: str, target: str) -> Image:
    return replace(audit.image, transport=transport, target=target)


@pytest.mark.parametrize(
    ("transport", "target", "output"),
    [
        ("docker-archive", "folder/app.tar", "-o app-clean.tar"),
        ("docker-archive", "app.tar.gz", "-o app-clean.tar"),
        ("docker-archive", "-", "-o image-clean.tar"),
        ("oci-archive", "oci-archive:app.oci.tar:1", "-o app-clean.oci.tar"),
        ("oci", "oci:layout", "-o layout-clean.oci.tar"),
        ("docker-daemon", "app:1", "-t registry.example.com/app:clean"),
        ("container", "container:web", "-t registry.example.com/app:clean"),
        ("docker", "docker://registry.example.com/app:1", "--push registry.example.com/app:clean"),
    ],
)
def test_the_result_goes_where_the_image_is(one: Audit, transport: str, target: str, output: str) -> None:
    command = flatten_command(at(one, transport, target), "--excise")
    assert command == f"image-audit flatten {target} --excise {output}"


@pytest.mark.parametrize(
    ("transport", "target", "commands"),
    [
        ("docker-archive", "a.tar", ["rm a.tar", "docker rmi registry.example.com/app:1"]),
        ("oci", "oci:layout", ["rm -r layout", "docker rmi registry.example.com/app:1"]),
        ("docker-archive", "-", []),
        ("container", "container:web", ["docker rm web"]),
        (
            "docker-daemon", "app:1",
            ["docker rmi app:1", "docker rmi registry.example.com/app:1", "docker ps -a --filter ancestor=app:1"],
        ),
        (
            "docker", "docker://registry.example.com/team/app:1",
            ["skopeo delete docker://registry.example.com/team/app:1",
             "image-audit registry scan registry.example.com/team/app"],
        ),
    ],
)  # fmt: skip
def test_copies_are_what_leads_to_the_layers(one: Audit, transport: str, target: str, commands: list[str]) -> None:
    plan = action_plan(at(one, transport, target), one.secrets, one.flatten)
    assert [copy.command for copy in plan.copies] == commands


def test_an_image_is_named_once(one: Audit) -> None:
    names = ("app:1", "docker.io/library/app:1", "1", "docker.io/team/app:2")
    plan = action_plan(replace(at(one, "docker-archive", "a.tar"), names=names), one.secrets, one.flatten)
    assert [copy.command for copy in plan.copies] == ["rm a.tar", "docker rmi app:1", "docker rmi team/app:2"]


def test_steps_with_one_remedy_are_together(tmp_path: Path, scanner: Scanner) -> None:
    layers = [layer({f"{name}.env": token(number)}) for number, name in enumerate("abc", 702)]
    steps = [step("COPY a.env /"), step("RUN make"), step("COPY c.env /")]
    audit = audited(image(*layers, history=steps), tmp_path, scanner)
    fix = next(found for found in plan_steps(audit, audit.secrets, False) if found.title == "Fix the build.")
    assert [item.text[:12] for item in fix.items] == ["layer 0: COP", "layer 2: COP", "layer 1: RUN"]
    assert [bool(item.remedy) for item in fix.items] == [False, True, True]


def test_a_visible_secret_alone_needs_no_flattening(tmp_path: Path, scanner: Scanner) -> None:
    audit = audited(image(layer({"a": token(701)})), tmp_path, scanner)
    plan = action_plan(audit.image, audit.secrets, audit.flatten)
    assert (plan.flatten, plan.copies, len(plan.revoke)) == (None, (), 1)


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        ("COPY . /app # buildkit", ".dockerignore"),
        ("/bin/sh -c #(nop) ADD file:1 in /", ".dockerignore"),
        ("RUN make", "RUN --mount=type=secret, or use a build stage"),
        ("a process in container web", "Mount the secret into the container"),
        (None, "RUN --mount=type=secret"),
    ],
)
def test_the_remedy_fits_the_step(one: Audit, step: str | None, remedy: str) -> None:
    finding = replace(one.findings[0], added_by=step)
    assert remedy in build_fix(finding)
    assert "base image" in build_fix(replace(finding, inherited=True))
