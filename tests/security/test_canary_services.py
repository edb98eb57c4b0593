"""Canaries where services take part: registries with logins, engines, providers, webhooks, databases."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import docker, free_port, require
from tests.fleet.planted import Remote
from tests.fleet.proxy import Proxy
from tests.fleet.receiver import Receiver
from tests.images import with_names
from tests.security.canaries import USER
from tests.security.places import IN, LOGIN, OWN_RULE, PASSWORD, Place, planted
from tests.security.relay import Relay
from tests.security.telltale import Telltale
from tests.verify.provider import Provider, provider

NAME = f"image-audit-canary-{os.getpid()}/planted:1"
QUOTED = urllib.parse.quote(PASSWORD, "")
AT = "{registry}/team/app:1"
REGISTRY = {
    "scan": [f"scan docker://{AT} -v -o r.json -o r.html -o r.sarif -o r.md"],
    "history and recover": [f"history docker://{AT}", f"recover docker://{AT} /clean.txt --layer 0"],
    "flatten": [
        f"flatten docker://{AT} --push {{registry}}/team/flat:1 -v --proof proof.json --drop-env TOKEN",
        f"flatten docker://{AT} -o flat.oci --excise",
        "flatten a.tar --push {registry}/team/flat:2 --minimal",
    ],
    "sweeps": [
        "registry scan {registry} -v --report site --notify {hook}",
        "registry scan {registry} --format json --no-cache --store sqlite:///own.sqlite --keep 1d",
        "registry report --format json --report site",
    ],
}
WORK = [
    "registry where {secret}", "registry where {secret} --format json", "registry plan", "registry plan --format json",
    "registry ack {secret} --reason known --by ops", "registry ack {secret} --remove",
]  # fmt: skip
LINES = ("registry scan", "registry watch", "registry report", "registry serve", *WORK)
AWAY = "import auditor.fleet.store.database as store\nstore.SweepStore.__init__.__kwdefaults__['retry_s'] = 0"
QUICK = "import time\ntime.sleep = lambda _: None"
HELPER = """#!/bin/sh
tr '\\0' '\\n' < /proc/$$/cmdline > helper.seen; tr '\\0' '\\n' < /proc/$$/environ >> helper.seen
cat >> helper.seen
cat <<'END'
{{"ServerURL": "{address}", "Username": "{user}", "Secret": {password}}}
END
exit {status}
"""


@pytest.fixture(scope="module")
def registry(start_registry: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with the image of the canaries, which wants the login that is one of them."""
    require(shutil.which("htpasswd") is not None, "htpasswd")
    made = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, check=True).stdout
    file = tmp_path_factory.mktemp("login") / "htpasswd"
    file.write_bytes(made)
    address: str = start_registry(f"auth:\n  htpasswd: {{realm: lab, path: {file}}}\n")
    session = requests.Session()
    session.headers["Authorization"] = f"Basic {LOGIN}"
    Remote(address, session).push("team/app", "1", planted())
    return address


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with closing(Receiver()) as made:
        yield made


def webhook(hook: Receiver) -> str:
    """A webhook whose address holds a canary, as those of chats do."""
    return f"{hook.url}/{QUOTED}?token={QUOTED}"


@pytest.mark.registry
class TestRegistry:
    @pytest.mark.parametrize("lines", REGISTRY.values(), ids=REGISTRY)
    def test_no_secret_leaves_through_us(self, place: Place, registry: str, hook: Receiver, lines: list[str]) -> None:
        place.log_in(registry)
        done = [place.run(line.format(registry=registry, hook=webhook(hook))) for line in lines]
        assert [one.status for one in done if one.status not in (0, 1)] == [], done
        place.check(*done)
        assert place.leaks("the webhook", str(hook.messages)) == []

    def test_the_work_on_secrets_shows_none(self, place: Place, registry: str) -> None:
        place.log_in(registry)
        done = [
            place.run(f"registry scan {registry} -q"),
            place.run("registry where --stdin", stdin=IN["file"].encode()),
        ]
        secret = re.findall(rb"[0-9a-f]{16,}", done[-1].out)[0].decode()
        done += [place.run(line.format(secret=secret)) for line in WORK]
        assert [one.status for one in done[1:]] == [0] * (len(WORK) + 1), done
        place.check(*done)

    def test_a_watch_tells_nobody(self, place: Place, registry: str, hook: Receiver) -> None:
        place.log_in(registry)
        at, pages = f"127.0.0.1:{free_port()}", list[bytes]()

        def look(process: int) -> None:
            while not re.search(rb'sweeps_total\{[^}]*"good"[^}]*\} 1', b"".join(pages)):
                pages.clear()
                for page in ("metrics", "healthz"):
                    try:
                        with urllib.request.urlopen(f"http://{at}/{page}") as answer:
                            pages.append(answer.read())
                    except OSError:  # it does not listen yet, or says that it is not well
                        continue
            os.kill(process, signal.SIGTERM)

        line = f"registry watch {registry} --cron '0 0 1 1 *' --now --listen {at} -v --notify {webhook(hook)}"
        done = place.run(line, meanwhile=look)
        assert done.status in (0, 143) and hook.messages, done
        place.check(done)
        assert place.leaks("metrics", str(pages)) == []

    def test_the_web_server_of_the_dashboard_shows_none(self, place: Place, registry: str) -> None:
        place.log_in(registry)
        at, pages = f"127.0.0.1:{free_port()}", list[bytes]()

        def look(process: int) -> None:
            for _ in range(600):
                try:
                    for page in ("healthz", "", "csv/findings.csv", "json/secrets.json"):
                        with urllib.request.urlopen(f"http://{at}/{page}") as answer:
                            pages.append(answer.read())
                    break
                except OSError:  # it does not listen yet, or has no dashboard yet
                    pages.clear()
                    time.sleep(0.05)
            os.kill(process, signal.SIGTERM)

        done = [place.run(f"registry scan {registry} -q"), place.run(f"registry serve --listen {at}", meanwhile=look)]
        assert done[1].status in (0, 143) and len(pages) == 4, done
        place.check(*done)
        assert place.leaks("the dashboard", str(pages)) == []

    @pytest.mark.parametrize("way", ["cut", "corrupt", "dropped", "status 500"])
    def test_a_network_that_fails_shows_no_secret(
        self, place: Place, registry: str, proxy_to: Callable[[str], Proxy], way: str
    ) -> None:
        proxy = proxy_to(registry)
        proxy.faults, proxy.ways, proxy.lasting = 1.0, (way,), True
        place.log_in(proxy.address)
        lines = [f"scan docker://{proxy.address}/team/app:1 -v", f"registry scan {proxy.address} -v"]
        done = [place.run(line, QUICK) for line in lines]
        assert [one.status for one in done] == [2, 2], done
        place.check(*done)

    def test_a_login_that_is_not_taken_is_not_shown(self, place: Place, registry: str) -> None:
        place.log_in(registry, password=PASSWORD[::-1])
        lines = [f"scan docker://{AT}", "flatten a.tar --push {registry}/team/no:1", "registry scan {registry}"]
        done = [place.run(line.format(registry=registry)) for line in lines]
        assert [one.status for one in done] == [2, 2, 2] and all(b"docker login" in one.err for one in done)
        place.check(*done)

    @pytest.mark.parametrize(("status", "want"), [(0, 1), (1, 2)])
    def test_a_credential_helper_is_asked_through_a_pipe(
        self, place: Place, registry: str, status: int, want: int
    ) -> None:
        script = place.cli.folder / "docker-credential-canary"
        script.write_text(HELPER.format(address=registry, user=USER, password=json.dumps(PASSWORD), status=status))
        script.chmod(0o755)
        place.cli.environment["PATH"] += f":{place.cli.folder}"
        place.log_in("127.0.0.1:1")
        config = Path(place.cli.environment["DOCKER_CONFIG"]) / "config.json"
        config.write_text('{"credsStore": "canary"}')
        done = place.run(f"scan docker://{registry}/team/app:1 -v")
        assert done.status == want, done
        script.unlink()
        assert registry in (place.cli.folder / "helper.seen").read_text()
        place.check(done)


@pytest.mark.parametrize(
    ("scheme", "status"),
    [("basic", 400), ("basic", 403), ("basic", 404), ("basic", 302), ("bearer", 403), ("bearer", 302)],
)
def test_a_registry_that_says_the_login_back_is_not_repeated(place: Place, scheme: str, status: int) -> None:
    with closing(Telltale(scheme, status)) as registry:
        place.log_in(registry.address)
        lines = ("scan docker://{}/team/app:1 -v", "flatten a.tar --push {}/team/no:1 -v", "registry scan {} -v")
        done = [place.run(line.format(registry.address), QUICK) for line in lines]
        assert len(registry.told) >= 3 and [one.status for one in done] == [2, 2, 2], done
    place.check(*done)


ADDRESSES = {
    "a database": f"registry scan 127.0.0.1:1 --store postgresql://{USER}:{QUOTED}@127.0.0.1:1/sweeps",
    "a database, watched": "registry watch 127.0.0.1:1 --cron '* * * * *' "
    f"--store postgresql://{USER}:{QUOTED}@127.0.0.1:1/sweeps",
    "a database, read": f"registry report --store postgresql://{USER}:{QUOTED}@127.0.0.1:1/sweeps",
    "a database, served": f"registry serve --listen 127.0.0.1:x --store postgresql://{USER}:{QUOTED}@127.0.0.1:1/sweeps",
    "no database": f"registry report --store nosql://{USER}:{QUOTED}@127.0.0.1:1/sweeps",
    "a registry": f"registry scan {USER}:{QUOTED}@127.0.0.1:1",
    "an image": f"scan docker://{USER}:{QUOTED}@127.0.0.1:1/app:1",
    "a push": f"flatten a.tar --push {USER}:{QUOTED}@127.0.0.1:1/app:1",
    "a webhook": f"registry scan 127.0.0.1:1 --notify nothing://{QUOTED}/{QUOTED}",
    "a scheduler": f"registry scan 127.0.0.1:1 --engine dask --scheduler tcp://{USER}:{QUOTED}@127.0.0.1:1",
}


@pytest.mark.parametrize("line", ADDRESSES.values(), ids=ADDRESSES)
def test_a_login_in_an_address_is_not_shown(place: Place, line: str) -> None:
    done = place.run(line, AWAY)
    assert done.status == 2, done
    place.check(done)


def test_a_webhook_that_does_not_take_the_message_is_not_named(place: Place, registry: str, hook: Receiver) -> None:
    hook.status = 500
    place.log_in(registry)
    done = place.run(f"registry scan {registry} -v --notify {webhook(hook)}", QUICK)
    assert done.status == 1 and b"did not accept" in done.err, done
    place.check(done)


@pytest.mark.parametrize("path", ["/user", "/redirect", "/unwell", "/garbage", "/endless"])
def test_verifying_tells_the_provider_alone(place: Place, path: str) -> None:
    with provider() as here:
        write_rule(place, here, path)
        done = place.run("scan a.tar -v --rules asks.yaml --rule asks --verify -o r.json", QUICK)
        assert done.status == 1 and any(IN["file"] in str(request[2]) for request in here.requests), done
    place.check(done)


def write_rule(place: Place, here: Provider, path: str) -> None:
    """A rule that finds the canaries and asks a provider about them."""
    rule = OWN_RULE.replace("own_[0-9a-z]{20}", "ghp_[0-9A-Za-z]{36}").replace("[own_]", "[ghp_]")
    rule = rule.replace("id: own", "id: asks").replace("own_{base36:20}", "ghp_{base62:30}{crc32}")
    asked = f"url: '{here.address}{path}', headers: {{Authorization: 'Bearer {{secret}}'}}, active: {{status: 200}}"
    (place.cli.folder / "asks.yaml").write_text(f"{rule}  verify: {{{asked}}}\n")


@pytest.fixture
def loaded(place: Place, engine: str) -> Iterator[Place]:
    """A place whose engine has the image, and a container of it."""
    place.cli.environment["DOCKER_HOST"] = engine
    archive = with_names(planted(), NAME).docker_archive(place.cli.folder / "named.tar")
    docker("load", "-q", "-i", str(archive))
    archive.unlink()
    container = docker("create", NAME, "x")
    place.cli.environment["CONTAINER"] = container
    yield place
    docker("rm", container)
    for name in (NAME, NAME + "-flat", NAME + "-export"):
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)


@pytest.mark.engine
@pytest.mark.xdist_group("engine")
class TestEngine:
    def test_no_secret_leaves_through_us(self, loaded: Place) -> None:
        (loaded.cli.folder / ".image-audit.yaml").write_text(f"images: ['{NAME}']\ndockerfiles: []\n")
        container = loaded.cli.environment["CONTAINER"]
        lines = (
            f"scan docker-daemon:{NAME} -v -o r.json", f"scan container:{container} --format json", f"history {NAME}",
            f"recover {NAME} /clean.txt --layer 0", f"flatten {NAME} -t {NAME}-flat -v",
            f"flatten {NAME} -t {NAME}-export --method export --proof proof.json", "hook run origin https://x.example",
        )  # fmt: skip
        done = [loaded.run(line) for line in lines]
        assert [one.status for one in done] == [1, 1, 0, 0, 1, 1, 1], done
        loaded.check(*done)

    @pytest.mark.parametrize("after", [200, 4_000, 9_000])
    @pytest.mark.parametrize("line", ["scan docker-daemon:{0} -v", "flatten {0} -t {0}-flat -v"])
    def test_an_engine_that_restarts_in_the_middle_is_said_in_one_line(
        self, loaded: Place, engine: str, line: str, after: int
    ) -> None:
        """What stands between the program and the engine breaks off after some bytes, and takes no more calls."""
        with closing(Relay(loaded.cli.folder.parent / "engine.sock", engine, after)) as relay:
            loaded.cli.environment["DOCKER_HOST"] = relay.address
            done = loaded.run(line.format(NAME))
        assert done.status == 2 and len([row for row in done.err.splitlines() if row.startswith(b"image-audit: ")]) == 1
        loaded.check(done)
