"""Logins at registries, as other tools stored them."""

from __future__ import annotations

import os

from auditor.core.cache_folder import config_home
from auditor.core.dataclass import dataclass

_VARIABLES = ("DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE")


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials that `docker login` stored for a host; empty texts if it stored none."""

    user: str = ""
    password: str = ""
    identity: str = ""

    def __repr__(self) -> str:
        return "Login()"

    @property
    def encoded(self) -> tuple[bytes, bytes]:
        """User and password in UTF-8, as Docker sends them."""
        return self.user.encode(), self.password.encode()


def stored_login(host: str, path: str = "") -> Login:
    """Return the stored credentials of a host, for repositories below a path. Raises Unauthorized if unreadable."""
    if not any(map(os.environ.get, _VARIABLES)) and not any(map(_may_exist, _files())):
        return Login()
    # The Docker SDK takes 0.02 s, which a user without stored credentials need not pay.
    from auditor.registry.credential_files import stored_entry

    found = stored_entry(host, path)
    return Login(
        found.get("username") or found.get("Username") or "",
        found.get("password") or found.get("Password") or "",
        found.get("identitytoken") or found.get("IdentityToken") or "",
    )


def _files() -> tuple[str, ...]:
    """Return the files that credential_files.py reads, besides those of variables."""
    home = os.path.expanduser("~")  # noqa: PTH111 - as the Docker SDK
    return (
        f"{os.environ.get('DOCKER_CONFIG', home)}/config.json",
        f"{home}/.docker/config.json",
        f"{home}/.dockercfg",
        f"{os.environ.get('XDG_RUNTIME_DIR', home)}/containers/auth.json",
        f"{config_home()}/containers/auth.json",
    )


def _may_exist(path: str) -> bool:
    """Whether a path exists, or can't be examined."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
