"""Canaries are looked for in all that any command prints, writes, keeps, passes on or leaves behind.

Here what needs no service; registries, engines and what tells others are in test_canary_services.py.
"""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from auditor.cli import group
from tests.security import test_canary_services as services
from tests.security.canaries import forms
from tests.security.places import IN, Place

EVERY = "r.json r.html r.sarif r.md r.xml r.txt gl-secret-detection-report.json"
REPORTS = " ".join(f"-o {name}" for name in EVERY.split())
COMMANDS = {
    "scan": [f"scan a.tar {REPORTS}"],
    "scan, with all that is said": ["scan a.tar --format json -v", "scan a.tar -v --dockerfile Dockerfile --no-cache"],
    "scan of standard input": ["scan - --format sarif"],
    "a baseline": ["scan a.tar --write-baseline b.yaml", "baseline audit b.yaml", "scan a.tar --baseline b.yaml -v"],
    "history": ["history a.tar", "history a.tar --format json"],
    "recover": ["recover a.tar /clean.txt --layer 0", "recover a.tar /gone.txt --layer 1", "recover a.tar /a.zip!none"],
    "flatten": [
        "flatten a.tar -o flat.tar -v --proof proof.json",
        "flatten a.tar -o flat.oci --excise --drop-env A --drop-label l --force --proof proof.json",
        "flatten a.tar -o flat.tar --minimal --force -q",
        "flatten a.tar -o flat.tar --from 1 --force --compress zstd",
    ],
    "attest": [
        "flatten a.tar -o flat.oci --minimal --force -q",
        "attest flat.oci -o a.att --key key.pem -v",
        "attest flat.oci --verify --attestation a.att --key key.pub --format json",
    ],
    "dockerfile": ["dockerfile Dockerfile -o d.json -o d.sarif -o d.txt", "dockerfile Dockerfile --format json"],
    "dockerfile --fix": ["dockerfile Dockerfile --fix -o d.json", "dockerfile Dockerfile --fix --write"],
    "explore": ["explore a.tar", "explore cut.tar -v"],  # without a terminal; tests/explore read the screen
    "init": ["init --no-input --ci github", "init --yes --ci gitlab"],
    "hook": ["hook install", "hook run", "hook run --strict origin https://git.example.com", "hook uninstall"],
    "config": ["config show", "config show --format json", "config limits"],
    "rules": ["rules list", "rules list --format json", "rules show github-pat", "rules check own.yaml"],
    "rules explain": ["rules explain --value-stdin", "rules explain --value-stdin --format json --path /app/.env"],
    "cache": ["scan a.tar -q", "cache info", "cache clear"],
    "completion": ["completion bash", "completion zsh", "completion fish", "completion --docker-plugin --dir plugins"],
    "registry, without one": ["registry scan 127.0.0.1:1 -v", "registry watch 127.0.0.1:1 --cron never"],
    "a report of no sweep": ["registry report"],
}
FAILURES = {
    "a damaged archive": "scan cut.tar -v",
    "a damaged archive, flattened": "flatten cut.tar -o flat.tar",
    "a damaged archive, told": "history cut.tar",
    "a wrong digest": "scan changed.tar -v",
    "a wrong digest, recovered": "recover changed.tar /app/a.txt",
    "a wrong digest, flattened": "flatten changed.tar -o flat.tar -v",
    "no such file": "scan nothing.tar",
    "no such user": "scan ~nobody-at-all/a.tar",
    "no engine": "scan docker-daemon:nothing -v",
    "no engine to load into": "flatten a.tar -t clean:1 -v",
    "a container of no engine": "scan container:nothing",
    "a registry that is not there": "scan docker://127.0.0.1:1/team/app:1 -v",
    "a registry that is not there, pushed to": "flatten a.tar --push 127.0.0.1:1/team/app:1 -v",
    "a platform that is not there": "scan a.tar --platform linux/s390x",
    "a target with a login": "scan docker://reader:{password}@127.0.0.1:1/app:1",
    "a push with a login": "flatten a.tar --push reader:{password}@127.0.0.1:1/app:1",
    "an unknown option": "scan a.tar --nonsense",
    "an unknown command": "sacn a.tar",
    "a report in no folder": "scan a.tar -o nowhere/r.json",
    "a report where nobody may write": "scan a.tar -q -o /proc/r.json",
    "a flat image where nobody may write": "flatten a.tar -o /proc/flat.tar",
    "a proof where nobody may write": "flatten a.tar -o flat.tar --proof /proc/p.json",
    "a config that is none": "scan a.tar --config .env",
    "a baseline that is none": "scan a.tar --baseline .env",
    "a baseline that is none, gone through": "baseline audit .npmrc",
    "rules that are none": "rules check .npmrc",
    "a Dockerfile that is none": "dockerfile .env",
    "a Dockerfile of another image": "scan a.tar --dockerfile .npmrc",
    "a key that is none": "attest a.tar -o a.att --key .npmrc",
    "a public key that is none": "attest a.tar --verify --key .npmrc",
    "an image without a manifest, attested": "attest a.tar -o a.att --key key.pem -v",
    "a registry that is not there, attested": "attest docker://127.0.0.1:1/team/app:1 --push --key key.pem",
    "recover of nothing": "recover a.tar /nothing",
    "a cache that is a file": "scan a.tar --cache-dir Dockerfile",
    "a store that is none": "registry report --store sqlite:///.npmrc",
    "a list of references that is none": "registry scan --from .npmrc",
}
# An exception that no code expects, where secrets are at hand: in the names and the values of a frame.
BROKEN = """
import auditor.api.audit as api
def render_options(report):
    secret = report.findings[0].secret
    raise RuntimeError(f"{secret} {secret!r} {report.findings}")
api.Report.render_options = property(render_options)
"""
IMPATIENT = "import auditor.store.layer_store as layers\nlayers._BUSY_S = 0"
FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.mark.parametrize("lines", COMMANDS.values(), ids=COMMANDS)
def test_no_secret_leaves_through_us(place: Place, lines: list[str]) -> None:
    saved = (place.cli.folder / "a.tar").read_bytes()
    answers = b"r\nbecause\ne\n30\nd\nx\nq\n"
    value = f"password = {IN['file']}\n".encode()
    inputs = {"scan -": saved, "rules explain": value}
    done = [place.run(line, stdin=inputs.get(" ".join(line.split()[:2]), answers)) for line in lines]
    assert all(one.status in (0, 1, 2) for one in done)
    place.check(*done)


@pytest.mark.parametrize("line", FAILURES.values(), ids=FAILURES)
def test_no_secret_leaves_where_it_fails(place: Place, line: str) -> None:
    done = place.run(line)
    assert done.status == 2 and len(done.err.splitlines()) >= 1, done
    place.check(done)


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_exception_that_nobody_expects_shows_no_secret(place: Place, debug: str) -> None:
    place.cli.environment["IMAGE_AUDIT_DEBUG"] = debug
    done = place.run("scan a.tar -v", BROKEN)
    assert done.status == (1 if debug else 2) and b"RuntimeError" in done.err
    place.check(done)


@pytest.mark.parametrize("line", [f"scan a.tar {REPORTS}", "flatten a.tar -o flat.tar", "scan a.tar --no-cache -v"])
@pytest.mark.parametrize("size", [0, 1024, 16384])
def test_a_full_disk_shows_no_secret(place: Place, line: str, size: int) -> None:
    done = place.run(line, FULL.format(size))
    assert done.status in (0, 1, 2) and b"Traceback" not in done.err, done.err
    place.check(done)


def test_a_cache_that_is_locked_shows_no_secret(place: Place) -> None:
    assert place.run("scan a.tar -q").status == 1
    (path,) = Path(place.cli.environment["XDG_CACHE_HOME"]).rglob("layers.sqlite")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        done = place.run("scan a.tar -v", IMPATIENT)
    finally:
        holder.close()
    assert done.status == 1 and b"continues without it" in done.err
    place.check(done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("line", [f"scan a.tar {REPORTS}", "flatten a.tar -o flat.tar", "hook run"])
def test_a_signal_in_the_middle_shows_no_secret(place: Place, line: str, number: signal.Signals) -> None:
    """The signal comes when the second layer is begun, from the process itself."""
    before = (
        f"import os\nimport auditor.scan.scanner as scanner\nown, seen = scanner.Scanner.read_layer, []\n"
        f"def read_layer(*given, **more):\n    if seen:\n        os.kill(os.getpid(), {int(number)})\n"
        "    seen.append(1)\n    return own(*given, **more)\nscanner.Scanner.read_layer = read_layer"
    )
    done = place.run(line, before)
    assert done.status == 128 + number, done
    place.check(done)


def test_every_command_is_in_the_table() -> None:
    lines = [line.split() for lines in (*COMMANDS.values(), services.LINES) for line in lines]
    for command in leaves(group, ()):
        assert any(line[: len(command)] == list(command) for line in lines), f"no canary for {' '.join(command)}"


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


def test_the_canaries_are_found_where_they_are_asked_for(place: Place) -> None:
    done = place.run("scan a.tar --show-secrets --format json --min-confidence low")
    shown = json.loads(done.out)
    out = json.dumps([finding["secret"] for finding in shown["findings"]])
    missing = [name for name in IN if IN[name] not in out and name not in ("Dockerfile", "context")]
    assert missing == []


def test_each_form_of_a_canary_is_known() -> None:
    canary = 'a"b/c+d é!'
    known = forms(canary)
    for around in ("", "x", "xy"):
        encoded = base64.b64encode(f"{around}{canary}{around}".encode())
        assert any(form in encoded for form in known)
    assert json.dumps({"p": canary}).encode().partition(b': "')[2][:-2] in known
