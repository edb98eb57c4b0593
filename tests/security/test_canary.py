"""Canaries: credentials and secrets of ours, looked for in all that any command prints, writes or leaves behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.images import Built, image, layer, step, token, whiteout

PASSWORD = "correct horse " + token(501)[4:20]
IN_FILE, IN_ENV, IN_STEP, IN_LABEL, HIDDEN = (token(number) for number in range(510, 515))
CANARIES = (
    PASSWORD,
    base64.b64encode(f"reader:{PASSWORD}".encode()).decode(),
    IN_FILE,
    IN_ENV,
    IN_STEP,
    IN_LABEL,
    HIDDEN,
)


def planted() -> Built:
    return image(
        layer({"app/a.txt": f"key {IN_FILE}\n", "gone.txt": f"{HIDDEN}\n"}),
        layer(whiteout("gone.txt")),
        history=[step(f"RUN login {IN_STEP}"), step("RUN rm gone.txt")],
        config={"Env": [f"TOKEN={IN_ENV}"], "Labels": {"token": IN_LABEL}},
    )


COMMANDS = {
    "scan": "scan a.tar -o r.json -o r.html -o r.sarif -o r.md -o r.xml -o gl-secret-detection-report.json",
    "scan as json": "scan a.tar --format json -v",
    "a baseline": "scan a.tar --write-baseline base.yaml",
    "history": "history a.tar",
    "rules": "rules list",
    "cache": "cache",
    "config": "config show",
    "flatten": "flatten a.tar -o flat.tar --excise",
    "a damaged archive": "scan cut.tar",
    "no such file": "scan nothing.tar",
    "no engine": "scan docker-daemon:nothing",
    "a registry that is not there": "scan docker://127.0.0.1:1/team/app:1",
    "a platform that is not there": "scan a.tar --platform linux/s390x",
    "an unknown option": "scan a.tar --nonsense",
    "a report that can't be written": "scan a.tar -o nowhere/r.json",
    "a config that is none": "scan a.tar --config cut.tar",
    "a baseline that is none": "scan a.tar --baseline cut.tar",
    "recover of nothing": "recover a.tar /nothing",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_secret_leaves_through_us(cli: Cli, command: str, tmp_path: Path) -> None:
    docker = Path(cli.environment["DOCKER_CONFIG"])
    docker.mkdir()
    login = {"auth": CANARIES[1]}
    (docker / "config.json").write_text(json.dumps({"auths": {"127.0.0.1:1": login}}))
    archive = planted().docker_archive(cli.folder / "a.tar")
    (cli.folder / "cut.tar").write_bytes(archive.read_bytes()[:3000])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    cli.environment["TMPDIR"] = str(temporary)
    done = cli(*command.split())
    assert done.status in (0, 1, 2)
    inputs = {archive, cli.folder / "cut.tar", cli.folder / "flat.tar", docker / "config.json"}
    said = {"output": done.raw + done.err.encode(), **dict(written(tmp_path, inputs))}
    for where, data in said.items():
        for canary in CANARIES:
            assert canary.encode() not in data, where
    assert not list(temporary.iterdir()), "something was left in the temporary folder"


def written(folder: Path, but: set[Path]) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in but:
            yield str(path), path.read_bytes()


def test_the_canaries_are_found_where_they_are_asked_for(cli: Cli) -> None:
    planted().docker_archive(cli.folder / "a.tar")
    out = cli("scan", "a.tar", "--show-secrets", "--format", "json").out
    assert all(canary in out for canary in CANARIES[2:])
