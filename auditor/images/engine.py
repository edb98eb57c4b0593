"""The connection to a Docker engine: its address, and the cause and remedy of a failure.

Unreachable is raised where no engine runs, EngineUnusable where one refuses. The difference decides about a bare name:
if an engine refuses access, the name is not looked up in a registry, where it may mean another image.
"""

from __future__ import annotations

import grp
import json
import os
import re
import socket
import ssl
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
from docker import DockerClient
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.context import Context, ContextAPI
from docker.errors import APIError, DockerException, InvalidVersion, TLSParameterError
from docker.utils import kwargs_from_env

from auditor.core.errors import AuditError, EngineUnusable, NotFound, Unreachable

TIMEOUT_S = 120
"""Maximum silence of an engine."""
WHOLE_IMAGE_TIMEOUT_S = 3600
"""Maximum silence while an engine prepares the export of an image, or unpacks one: 2.4 GB took 130 s on a busy disk."""
_DEFAULT = "unix:///var/run/docker.sock"
_OTHERWISE = "set DOCKER_HOST, or name an archive"
_MAX_MESSAGE = 200


class EngineClient(DockerClient):
    """The client of the Docker SDK, with the engine's answer to `GET /version`."""

    server: Mapping[str, Any]


_KNOWN_S = 60
_servers: dict[str, tuple[float, Mapping[str, Any]]] = {}
"""Answers to `GET /version` with their time, by address, for a minute: later, another version may run there.

An engine starts programs for an answer, which takes 20 ms.
"""


@contextmanager
def engine(timeout_s: int = TIMEOUT_S) -> Iterator[EngineClient]:
    """Connect to the engine of DOCKER_HOST or of the current Docker context. Raises Unreachable, NotFound.

    An engine that is silent for `timeout_s` counts as unusable.
    """
    address = _DEFAULT
    try:
        parameters = _connection_parameters()
        address = parameters.get("base_url") or _DEFAULT
        client = _connected(address, parameters, min(timeout_s, TIMEOUT_S))
        client.api.timeout = timeout_s
    except AuditError:
        raise
    except Exception as exc:  # any server may answer, and the SDK does not check the form of its answers
        raise _connection_error(exc, address) from exc
    try:
        with engine_errors():
            yield client
    finally:
        client.close()


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise the errors of the Docker SDK as NotFound and EngineUnusable."""
    try:
        yield
    except docker.errors.NotFound as exc:
        raise NotFound(f"the Docker engine answers: {exc.explanation or exc}") from exc
    except (requests.RequestException, DockerException) as exc:
        address = _connection_parameters().get("base_url") or _DEFAULT
        raise EngineUnusable(f"the Docker engine at {address} fails: {_explanation(exc)}") from exc


def _connected(address: str, parameters: Mapping[str, Any], timeout_s: int) -> EngineClient:
    """Return a client that speaks the engine's version of the API. Raises an error if the engine does not answer."""
    asked, server = _servers.pop(address, (0.0, None))
    is_known = server is not None and time.monotonic() - asked < _KNOWN_S
    if server is None or not is_known:
        _dial(address, timeout_s)
        asked, server = time.monotonic(), _server(parameters, timeout_s)
    client = EngineClient(timeout=timeout_s, version=server["ApiVersion"], **parameters)
    if is_known:
        try:
            client.ping()
        except DockerException:  # it has stopped, or another one is in its place
            client.close()
            return _connected(address, parameters, timeout_s)
    client.server = server
    _servers[address] = asked, server
    return client


def _dial(address: str, timeout_s: int) -> None:
    """Raise OSError where a Unix socket does not accept connections: the SDK would leave its own socket open."""
    if path := _socket_path(address):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))


def _socket_path(address: str) -> Path | None:
    """Return the path of the socket at an address; None if it is no Unix socket."""
    scheme, _, path = address.partition("://")
    return Path("/" + path.lstrip("/")) if scheme in {"unix", "http+unix"} else None


def _server(parameters: Mapping[str, Any], timeout_s: int) -> Mapping[str, Any]:
    with closing(DockerClient(timeout=timeout_s, version=DEFAULT_DOCKER_API_VERSION, **parameters)) as client:
        server: Mapping[str, Any] = client.version(api_version=False)
    return server


def _connection_parameters() -> dict[str, Any]:
    """Return address and TLS files: of the environment variables, else of the current Docker context."""
    parameters = dict[str, Any](kwargs_from_env())
    if "base_url" in parameters:
        return parameters
    name = os.environ.get("DOCKER_CONTEXT") or None
    context: Context | None = ContextAPI.get_context(name)
    if context is None:
        source = f"{name} of DOCKER_CONTEXT" if name else "of the Docker config's `currentContext`"
        raise EngineUnusable(f"the Docker context {source} does not exist; `docker context ls` lists them")
    if context.Name == "default" or not context.Host:
        return parameters
    return {"base_url": context.Host, **({"tls": context.TLSConfig} if context.TLSConfig else {})}


def _connection_error(exc: Exception, address: str) -> Unreachable:
    """Return the error, with its remedy, of a connection that failed."""
    path = _socket_path(address)
    for cause in _causes(exc):
        match cause:
            case PermissionError():
                return EngineUnusable(_permission_denied(address, path))
            case FileNotFoundError() if path:
                return Unreachable(f"no Docker engine: {path} does not exist; start it, {_OTHERWISE}")
            case ConnectionRefusedError() if path:
                return Unreachable(_refused_socket(path))
            case ConnectionRefusedError():
                return Unreachable(f"no Docker engine: nothing listens at {address}; start it, {_OTHERWISE}")
            case TLSParameterError():
                return EngineUnusable(f"the TLS files of the Docker engine: {cause}; see DOCKER_CERT_PATH")
            case ssl.SSLError():
                failure = f"TLS with the Docker engine at {address} fails: {cause.reason or cause}"
                return EngineUnusable(f"{failure}; see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH")
            case InvalidVersion():
                return EngineUnusable(f"the Docker engine at {address} is too old: {cause}; update it, or {_OTHERWISE}")
            case APIError():
                return EngineUnusable(_error_response(cause, address))
            case TimeoutError() | requests.Timeout():
                return EngineUnusable(f"the Docker engine at {address} does not answer; restart it, {_OTHERWISE}")
            case json.JSONDecodeError() | KeyError() | TypeError() | AttributeError():
                return EngineUnusable(f"the server at {address} is no Docker engine; {_OTHERWISE}")
    return Unreachable(f"no Docker engine at {address}: {_explanation(exc)}; start it, {_OTHERWISE}")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, innermost first. Some libraries pass the cause as an argument of the error."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [exc]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in chain:
            chain.append(one)
            waiting += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
    yield from reversed(chain)


def _permission_denied(address: str, path: Path | None) -> str:
    if path is None:
        return f"permission denied by the Docker engine at {address}; log in there, {_OTHERWISE}"
    group = _socket_group(path)
    return (
        f"permission denied on {path}, the socket of the Docker engine: add your user to the group {group} "
        f"(`sudo usermod -aG {group} $USER`, then log in again), use sudo, {_OTHERWISE}"
    )


def _socket_group(path: Path) -> str:
    """Return the group with access to a socket; `docker`, the group of Docker's packages, if only root has access."""
    try:
        status = path.stat()
        name = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return "docker"
    return name if status.st_gid and status.st_mode & stat.S_IWGRP else "docker"


def _refused_socket(path: Path) -> str:
    if path.is_socket():
        return f"no Docker engine: nothing listens on {path}, left over from an engine; start it, {_OTHERWISE}"
    return f"no Docker engine: {path} is no socket; start the engine, {_OTHERWISE}"


def _error_response(exc: APIError, address: str) -> str:
    status = exc.response.status_code if exc.response is not None else None
    explanation = _explanation(exc)
    if status in (401, 403):
        return f"permission denied by the server at {address} ({status}): {explanation}; log in there, {_OTHERWISE}"
    hint = "set DOCKER_TLS_VERIFY=1" if "HTTPS" in explanation else "see its log"
    return f"the Docker engine at {address} answers {status}: {explanation}; {hint}, {_OTHERWISE}"


def _explanation(exc: BaseException) -> str:
    """Return the engine's error message, or the innermost cause. HTML is reduced to its title."""
    text = str(getattr(exc, "explanation", None) or "")
    if not text:
        innermost = next(_causes(exc))
        text = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    if re.match(r"\s*<", text):
        title = re.search(r"(?is)<title>(.*?)</title>", text)
        text = f"HTML{f', {title[1]}' if title else ''}"
    return " ".join(text.split())[:_MAX_MESSAGE]
