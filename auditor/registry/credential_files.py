"""Credentials that other tools stored, by host. The first source with an entry applies:

    DOCKER_AUTH_CONFIG             JSON of a Docker config, in the variable (docker 28.3, GitLab CI)
    REGISTRY_AUTH_FILE             file of `podman login --authfile` (podman, skopeo, buildah)
    DOCKER_CONFIG/config.json      `docker login`, by default in ~/.docker
    XDG_RUNTIME_DIR/containers/auth.json, XDG_CONFIG_HOME/containers/auth.json     `podman login`

Credential helpers count in each file. An entry of Podman may name a namespace, `HOST/NAMESPACE`: the longest one that
contains the requested path applies. Sources: docs.docker.com/reference/cli/docker/login, containers-auth.json(5).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker.auth import AuthConfig
from docker.credentials import Store
from docker.credentials.errors import CredentialsNotFound, StoreError
from docker.errors import DockerException
from docker.utils.config import find_config_file

from auditor.core.cache_folder import config_home
from auditor.core.errors import Unauthorized
from auditor.registry.reference import DOCKER_HUB

_NAMESPACED = re.compile(r"(?!https?:)[^/]+/(?!v[12]/?$).+")
"""A key of Podman, `HOST/NAMESPACE`; older keys of Docker are URLs, or end in /v1/."""


def stored_entry(host: str, path: str) -> dict[str, str]:
    """Return the entry of a host, for repositories below a path; empty without one. Raises Unauthorized."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of the errors that it then raises
            return next(filter(None, (_entry(config, host, path) for config in _configs())), {})
    except (DockerException, OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        raise Unauthorized(f"{host}: can't read the stored credentials: {exc}") from exc


class _Config(AuthConfig):
    """A config with credentials, whose helpers show none of their output."""

    @classmethod
    def parse_auth(cls, entries: Mapping[str, Any], raise_on_error: bool = False) -> dict[str, Any]:
        """Return the entries; one without `auth` may have `username` and `password`, which the SDK ignores."""
        given = {host: _without_empty_values(entry) for host, entry in entries.items()}
        parsed = super().parse_auth(given, raise_on_error)
        plain = {
            host: {"username": given[host]["username"], "password": given[host].get("password", "")}
            for host, entry in parsed.items()
            if not entry and isinstance(given[host].get("username"), str)
        }
        return {**parsed, **plain}

    def _get_store_instance(self, name: str) -> Store:
        return _CredentialHelper(name)


def _without_empty_values(entry: Any) -> Any:
    """Return an entry without its empty values, which Docker treats as missing."""
    return {key: value for key, value in entry.items() if value} if isinstance(entry, dict) else entry


class _CredentialHelper(Store):
    """A credential helper. Its output is never shown: a failing helper may print the credentials."""

    def _execute(self, subcmd: str, data_input: bytes | None) -> bytes:
        try:
            done = subprocess.run([self.program, subcmd], input=data_input, capture_output=True, check=False)
        except OSError as exc:
            raise StoreError(f"{self.program}: {exc.strerror}") from None
        if b"credentials not found in native keychain" in done.stdout:
            raise CredentialsNotFound(self.program)
        if done.returncode:
            raise StoreError(f"{self.program} ends with status {done.returncode}; run it by hand to see why")
        return done.stdout


def _configs() -> Iterator[_Config]:
    """Yield the sources in their order; each is read when the ones before it had no entry."""
    if text := os.environ.get("DOCKER_AUTH_CONFIG"):
        try:
            document = json.loads(text)
        except ValueError:
            raise ValueError("DOCKER_AUTH_CONFIG contains no JSON") from None  # the error would quote the text
        yield _Config.load_config(None, document)
    if file := os.environ.get("REGISTRY_AUTH_FILE"):
        yield from _existing(Path(file))
    if found := find_config_file():
        yield _read(Path(str(found)))
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        yield from _existing(Path(folder) / "containers/auth.json")
    yield from _existing(config_home() / "containers/auth.json")


def _existing(file: Path) -> Iterator[_Config]:
    if file.is_file():
        yield _read(file)


def _read(file: Path) -> _Config:
    """Read a config of Docker or Podman. Raises OSError, and ValueError without its text if it is malformed."""
    text = file.read_bytes()
    if not text.strip():
        return _Config({})
    try:
        document = json.loads(text)
    except RecursionError:
        document = None
    except ValueError:
        config = _Config.load_config(str(file), None)  # ~/.dockercfg of old versions is no JSON
        if not config.is_empty:
            return config
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"{file} contains no JSON object; correct or remove it")
    return _Config.load_config(None, document) if document else _Config({})


def _entry(config: _Config, host: str, path: str) -> dict[str, str] | None:
    """Return the entry of the longest matching name, None without one."""
    names = path.split("/") if path else []
    for length in range(len(names), 0, -1):
        if found := config.auths.get("/".join((host, *names[:length]))):
            return dict(found)
    for key in [key for key in config.auths if _NAMESPACED.fullmatch(key)]:
        del config.auths[key]  # the SDK would take it for an entry of the host
    found = config.resolve_authconfig(None if host == DOCKER_HUB else host)
    return dict(found) if found else None
