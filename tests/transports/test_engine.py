"""What is told of an engine that can't be used: its socket, its TLS, its answers, and what to do."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from auditor.core.errors import Unreachable
from auditor.images.engine import engine
from tests.conftest import Cli, free_port, require
from tests.images import story

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"


@contextmanager
def answering(server: socket.socket, answer: bytes) -> Iterator[None]:
    """Give one answer to whatever is asked at a socket."""

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except ssl.SSLError:  # the client does not trust it
                continue
            except OSError:
                return
            with peer:
                if peer.recv(1 << 16):
                    peer.sendall(answer)

    server.listen()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def http(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


def told(cli: Cli, host: str, **environment: str) -> str:
    """The one line that a scan of the engine's image ends with, and that of a bare name."""
    done = cli("scan", "docker-daemon:layer2", DOCKER_HOST=host, **environment)
    assert (done.status, done.out) == (2, "") and len(done.err.splitlines()) == 1, done
    return done.err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist; start it"),
        (lambda path: path.write_text("x"), "is no socket"),
        (lambda path: path.mkdir(), "is no socket"),
        (lambda path: unix(path).close(), "nothing listens on"),
    ],
    ids=["missing", "file", "folder", "left behind"],
)
def test_an_engine_that_is_absent_is_told_with_its_socket(cli: Cli, tmp_path: Path, make: Any, words: str) -> None:
    path = tmp_path / "engine.sock"
    make(path)
    line = told(cli, f"unix://{path}")
    assert words in line and str(path) in line and "start" in line and "permission" not in line


def test_an_engine_that_is_absent_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    with pytest.raises(Unreachable, match="does not exist"), engine():
        pass
    gc.collect()  # a socket that is still open would warn, which is an error in tests


ANSWERS = {
    "an error": (http("500 Internal Server Error", b'{"message": "disk is full"}'), "answers 500: disk is full"),
    "an error as HTML": (http("502 Bad Gateway", HTML, "text/html"), "answers 502: HTML, 502 Bad Gateway"),
    "HTML": (http("200 OK", HTML, "text/html"), "is no Docker engine"),
    "a list": (http("200 OK", b"[]"), "is no Docker engine"),
    "a text": (http("500 X", b'"no"'), "is no Docker engine"),
    "no version": (http("200 OK", b"{}"), "is no Docker engine"),
    "forbidden": (http("403 Forbidden", b'{"message": "authorization denied by plugin"}'), "permission denied"),
    "an old version": (http("200 OK", b'{"ApiVersion": "1.12"}'), "is too old"),
    "a version that is none": (http("200 OK", b'{"ApiVersion": 7}'), "Docker engine"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "Docker engine"),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_an_engine_that_answers_something_else_is_told_with_its_answer(
    cli: Cli, tmp_path: Path, name: str, transport: str
) -> None:
    answer, words = ANSWERS[name]
    if transport == "unix":
        server, host = unix(tmp_path / "s"), f"unix://{tmp_path}/s"
    else:
        server = socket.create_server(("127.0.0.1", 0))
        host = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    with answering(server, answer):
        line = told(cli, host)
    assert words in line and host.partition("://")[2] in line and "<" not in line


def test_an_address_where_nothing_listens_is_told_and_a_login_in_it_is_not(cli: Cli) -> None:
    port = free_port()
    assert f"nothing listens at tcp://127.0.0.1:{port}" in told(cli, f"tcp://127.0.0.1:{port}")
    line = told(cli, f"tcp://user:s3cr3t-w0rd@127.0.0.1:{port}")
    assert f"****@127.0.0.1:{port}" in line and "s3cr3t" not in line


def certificate(folder: Path) -> Path:
    """A certificate that signs itself, under the names that DOCKER_CERT_PATH wants."""
    require(shutil.which("openssl") is not None, "openssl")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    folder.mkdir()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    return folder


def test_tls_that_fails_is_told(cli: Cli, tmp_path: Path) -> None:
    own, other = certificate(tmp_path / "own"), certificate(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own / "cert.pem", own / "key.pem")
    version = http("200 OK", b'{"ApiVersion": "1.12"}')
    for wrapped, folder, words in (
        (True, other, "CERTIFICATE_VERIFY_FAILED"),
        (False, own, "TLS with the Docker engine"),
        (True, own, "is too old"),
    ):
        plain = socket.create_server(("127.0.0.1", 0))
        server = context.wrap_socket(plain, server_side=True) if wrapped else plain
        with answering(server, version):
            host = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            line = told(cli, host, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(folder))
        assert words in line and (folder is own and wrapped) == ("DOCKER_CERT_PATH" not in line)
    missing = told(cli, "tcp://127.0.0.1:1", DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH="/no/such/folder")
    assert "TLS files" in missing and "DOCKER_CERT_PATH" in missing


def test_plain_http_to_an_engine_that_wants_tls_is_told(cli: Cli) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    answer = http("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n", "text/plain")
    with answering(server, answer):
        assert "DOCKER_TLS_VERIFY=1" in told(cli, f"tcp://127.0.0.1:{server.getsockname()[1]}")


def config(cli: Cli, name: str, context: dict[str, Any] | None = None) -> None:
    """Make a Docker context the current one."""
    import hashlib

    folder = Path(cli.environment["DOCKER_CONFIG"])
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"currentContext": name}))
    if context is not None:
        meta = folder / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text(json.dumps(context))


def test_the_current_context_is_the_engine_and_one_that_is_missing_is_told(cli: Cli, tmp_path: Path) -> None:
    config(cli, "gone")
    assert "Docker context" in told(cli, "") and "docker context ls" in told(cli, "")
    host = f"unix://{tmp_path}/of-the-context.sock"
    config(cli, "lab", {"Name": "lab", "Metadata": {}, "Endpoints": {"docker": {"Host": host}}})
    assert "of-the-context.sock does not exist" in told(cli, "")
    config(cli, "default")
    assert "of-the-context.sock does not exist" in told(cli, "", DOCKER_CONTEXT="lab")
    assert "no-such" in told(cli, "", DOCKER_CONTEXT="no-such")


def powerless(cli: Cli, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a root that the permissions of files hold for, as they do for everybody else."""
    require(os.geteuid() == 0 and shutil.which("setpriv") is not None, "root and setpriv")
    return subprocess.run(
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable, "-m", "auditor", *arguments],
        cwd=cli.folder, env={**cli.environment, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("target", ["docker-daemon:layer2", "layer2", "container:x"])
def test_a_socket_without_permission_is_told_with_what_to_do(cli: Cli, tmp_path: Path, target: str) -> None:
    path = tmp_path / "engine.sock"
    with closing(unix(path)) as server:
        server.listen()
        path.chmod(0o660)
        os.chown(path, 65534, 65534)
        done = powerless(cli, "scan", target, DOCKER_HOST=f"unix://{path}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"permission denied on {path}" in done.stderr and "start it" not in done.stderr
    assert all(word in done.stderr for word in ("to the group nogroup", "sudo", "DOCKER_HOST"))
    # There is an engine: a bare name is its image, and not one of a registry.
    assert ("docker://layer2" in done.stderr) == (target == "layer2") and "docker.io" not in done.stderr


def test_the_hook_does_not_let_pass_what_an_engine_refuses_to_show(cli: Cli, tmp_path: Path) -> None:
    (cli.folder / ".image-audit.yaml").write_text("images: [layer2]\n")
    story()[0].docker_archive(cli.folder / "a.tar")
    assert cli("hook", "run").status == 0
    with answering(unix(tmp_path / "s"), http("500 X", b'{"message": "no"}')):
        done = cli("hook", "run", DOCKER_HOST=f"unix://{tmp_path}/s")
    assert done.status == 2 and "answers 500: no" in done.err


@contextmanager
def versions(path: Path, asked: list[str], version: str) -> Iterator[None]:
    """An engine that speaks one version of the API, and refuses others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = self.path == "/version" or self.path.startswith(f"/v{version}/")
            body = json.dumps({"ApiVersion": version} if known else {"message": "too new"}).encode()
            self.send_response(200 if known else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

        def address_string(self) -> str:
            return "unix"

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
    path.unlink()


def test_an_engine_is_asked_for_its_version_once_and_again_after_it_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    path = tmp_path / "s"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with versions(path, asked, "1.44"):
        for _ in range(3):
            with engine() as client:
                assert client.server["ApiVersion"] == client.api.api_version == "1.44"
        assert asked == ["/version", "/v1.44/_ping", "/v1.44/_ping"]
    with versions(path, asked, "1.43"), engine() as client:
        assert client.api.api_version == "1.43"
    assert asked[3:] == ["/v1.44/_ping", "/version"]


def test_an_engine_is_asked_for_its_version_again_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with versions(tmp_path / "s", asked, "1.44"):
        with engine():
            pass
        later = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: later)
        with engine():
            pass
    assert asked == ["/version", "/version"]
