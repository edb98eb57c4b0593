"""The connection to a Docker engine: where it is, and what to do where it can't be used.

Unreachable is raised where there is no engine, EngineUnusable where there is one that refuses: a bare name then stands
for an image of that engine, and not for one of a registry.
"""

from __future__ import annotations

import grp
import json
import os
import re
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.core.errors import AuditError, EngineUnusable, NotFound, Unreachable

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.context import Context

_TIMEOUT_S = 120
_DEFAULT = "unix:///var/run/docker.sock"
_OTHERWISE = "set DOCKER_HOST, or name an archive"
_MAX_SAID = 200


@contextmanager
def engine() -> Iterator[DockerClient]:
    """Connect to the engine that DOCKER_HOST or the current Docker context names. Raises Unreachable, NotFound."""
    import docker
    import requests
    from docker.errors import DockerException

    address = _DEFAULT
    try:
        parameters = _parameters()
        address = parameters.get("base_url") or _DEFAULT
        client = docker.DockerClient(timeout=_TIMEOUT_S, version="auto", **parameters)
        client.ping()
    except AuditError:
        raise
    except Exception as exc:  # what answers may be no engine, and the SDK takes its answers apart without looking
        raise _failure(exc, address) from exc
    try:
        yield client
    except docker.errors.NotFound as exc:
        raise NotFound(f"the engine says: {exc.explanation or exc}") from exc
    except (requests.RequestException, DockerException) as exc:
        raise EngineUnusable(f"the Docker engine at {address} fails: {_said(exc)}") from exc
    finally:
        client.close()


def _parameters() -> dict[str, Any]:
    """Return the address and the TLS files that the environment, or else the current Docker context, names."""
    from docker.context import ContextAPI
    from docker.utils import kwargs_from_env

    parameters = dict[str, Any](kwargs_from_env())
    if "base_url" in parameters:
        return parameters
    name = os.environ.get("DOCKER_CONTEXT") or None
    context: Context | None = ContextAPI.get_context(name)
    if context is None:
        named = f"{name}, which DOCKER_CONTEXT names" if name else "that the Docker config names as the current one"
        raise EngineUnusable(f"there is no Docker context {named}; `docker context ls` lists them")
    if context.Name == "default" or not context.Host:
        return parameters
    return {"base_url": context.Host, **({"tls": context.TLSConfig} if context.TLSConfig else {})}


def _failure(exc: Exception, address: str) -> Unreachable:
    """Return what to tell of an engine that could not be connected to."""
    import requests
    from docker.errors import APIError, InvalidVersion, TLSParameterError

    socket = Path(address.partition("://")[2] or "/") if address.startswith(("unix://", "http+unix://")) else None
    for cause in _causes(exc):
        match cause:
            case PermissionError():
                return EngineUnusable(_refused(address, socket))
            case FileNotFoundError() if socket:
                return Unreachable(f"no Docker engine: {socket} does not exist; start it, {_OTHERWISE}")
            case ConnectionRefusedError() if socket:
                return Unreachable(_silent(socket))
            case ConnectionRefusedError():
                return Unreachable(f"no Docker engine: nothing listens at {address}; start it, {_OTHERWISE}")
            case TLSParameterError():
                return EngineUnusable(f"the TLS files of the Docker engine: {cause}; see DOCKER_CERT_PATH")
            case ssl.SSLError():
                said = f"TLS with the Docker engine at {address} fails: {cause.reason or cause}"
                return EngineUnusable(f"{said}; see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH")
            case InvalidVersion():
                return EngineUnusable(f"the Docker engine at {address} is too old: {cause}; update it, or {_OTHERWISE}")
            case APIError():
                return EngineUnusable(_answered(cause, address))
            case TimeoutError() | requests.Timeout():
                return EngineUnusable(f"the Docker engine at {address} does not answer; restart it, {_OTHERWISE}")
            case json.JSONDecodeError() | KeyError() | TypeError() | AttributeError():
                return EngineUnusable(f"what answers at {address} is no Docker engine; {_OTHERWISE}")
    return Unreachable(f"no Docker engine at {address}: {_said(exc)}; start it, {_OTHERWISE}")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, the innermost first; libraries put some into the arguments of others."""
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [exc]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in chain:
            chain.append(one)
            waiting += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
    yield from reversed(chain)


def _refused(address: str, socket: Path | None) -> str:
    if socket is None:
        return f"permission denied by the Docker engine at {address}; log in there, {_OTHERWISE}"
    return (
        f"permission denied on {socket}, the socket of the Docker engine: add your user to the group {_group(socket)} "
        f"(`sudo usermod -aG {_group(socket)} $USER`, then log in again), use sudo, {_OTHERWISE}"
    )


def _group(socket: Path) -> str:
    """Return the group that may use a socket; of root's own, which nobody joins, the one that packages make."""
    try:
        status = socket.stat()
        name = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return "docker"
    return name if status.st_gid and status.st_mode & stat.S_IWGRP else "docker"


def _silent(socket: Path) -> str:
    if socket.is_socket():
        return f"no Docker engine: nothing listens on {socket}, which an engine left behind; start it, {_OTHERWISE}"
    return f"no Docker engine: {socket} is no socket; start the engine, {_OTHERWISE}"


def _answered(exc: Any, address: str) -> str:
    status = exc.response.status_code if exc.response is not None else None
    if status in (401, 403):
        return f"permission denied by what answers at {address} ({status}): {_said(exc)}; log in there, {_OTHERWISE}"
    hint = "set DOCKER_TLS_VERIFY=1" if "HTTPS" in _said(exc) else "see its log"
    return f"the Docker engine at {address} answers {status}: {_said(exc)}; {hint}, {_OTHERWISE}"


def _said(exc: BaseException) -> str:
    """Return the engine's own words, or the innermost reason, without the library's wrapping, and without HTML."""
    text = str(getattr(exc, "explanation", None) or "")
    if not text:
        innermost = next(_causes(exc))
        text = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    if re.match(r"\s*<", text):
        title = re.search(r"(?is)<title>(.*?)</title>", text)
        text = f"HTML{f', {title[1]}' if title else ''}"
    return " ".join(text.split())[:_MAX_SAID]
