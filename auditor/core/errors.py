"""Errors for the user. The command line prints the message as it stands, and exits with 2.

AuditError                 base class
├── UsageError             invalid option, target or reference
├── ConfigError            invalid .image-audit.yaml or baseline
├── DockerfileError        unreadable Dockerfile or .dockerignore
├── MissingLibrary         required library not installed
├── RuleError              malformed rule, or rule that fails its own examples
├── ImageError             unreadable image
│   ├── NotAnImage         no image in any known format
│   ├── Damaged            content differs from its digest, or breaks its format
│   └── NotFound           no such image, tag, platform or container
├── Unreachable            no answer from an engine or registry
│   ├── Unauthorized       credentials missing or refused
│   │   └── Forbidden      access to one resource refused to valid credentials
│   ├── Unsupported        request or parameter that a registry does not support
│   ├── IncompleteList     list of a registry with a page that can't be read
│   ├── BlockedAddress     reference to a blocked address or origin
│   ├── EngineUnusable     answer of an engine that can't be used: no permission, other TLS, unknown format
│   └── Temporary          temporary failure: broken connection, 429, 503
├── EngineError            Dask cluster without answer, or with unsuitable workers
├── StoreError             store of sweeps that can't be opened, read or written
│   ├── LeaseHeld          lease that another process holds
│   └── LeaseLost          lease that another process took while this one was suspended
├── AttestationError       attestation that is missing, damaged or not signed with the given key
├── RecoverError           no such file in any layer, or several and none chosen
└── FlattenError           flattened image that failed its proof, and was removed

A message is one line: what happened, the object, and what to do next.
"""

from __future__ import annotations

import re

_LOGINS = (
    # Up to the last @ before the path: a password may hold one.
    re.compile(r"(?<=://)[^\s/@'\"]*(?:@[^\s/@'\"]*)*@(?=[^\s/@])"),
    # A password with a slash: up to the last @, unless a port and a path precede it.
    re.compile(r"(?<=://)[^\s/:@'\"]*:(?!\d{1,5}(?:[/?#\s]|$))[^\s'\"]*@(?!sha\d)"),
    # Without a scheme, before a host that a path follows: user:password@host/name.
    re.compile(r"(?<![\w./@:-])[\w.+%-]+:(?!//)[^\s/@'\"]+@(?!sha\d)(?=[\w.-]+(?::\d+)?/)"),
)


def without_logins(text: str) -> str:
    """Mask the logins of the URLs in a text: `http://****@host/`."""
    if "@" in text:
        for login in _LOGINS:
            text = login.sub("****@", text)
    return text


def reason(error: BaseException) -> str:
    """Return the message of an error as one line; of an unexpected error only its class."""
    match error:
        case AuditError():
            return str(error)
        case OSError() | MemoryError():
            place, cause = getattr(error, "filename", None), getattr(error, "strerror", None)
            return without_logins(f"{place or 'system'}: {cause or str(error) or 'out of memory'}")
        case _:  # its text may contain secrets of an image
            return f"internal error: {type(error).__name__}; please report it, with IMAGE_AUDIT_DEBUG=1 set"


class AuditError(Exception):
    """Base class of errors for the user. Logins of URLs are masked in the message."""

    def __str__(self) -> str:
        return without_logins(" ".join(super().__str__().split()))


class UsageError(AuditError):
    """Invalid option, target or reference."""


class ConfigError(AuditError):
    """Invalid config file or baseline."""


class DockerfileError(AuditError):
    """Unreadable Dockerfile or .dockerignore."""


class MissingLibrary(AuditError):
    """A required library is not installed, or can't be loaded."""


class RuleError(AuditError):
    """Malformed rule, or rule that fails its own examples."""


class ImageError(AuditError):
    """Unreadable image."""


class NotAnImage(ImageError):
    """The target is no image in any known format."""


class Damaged(ImageError):
    """Content of an image differs from its digest or manifest, or breaks its format."""


class NotFound(ImageError):
    """No such image, tag, platform or container."""


class Unreachable(AuditError):
    """No answer from an engine or registry."""


class Unauthorized(Unreachable):
    """The registry or engine refused the credentials, or requires some."""


class Forbidden(Unauthorized):
    """The credentials are valid, but do not give access to the requested resource: HTTP 403."""


class Unsupported(Unreachable):
    """The registry does not support the request, or a parameter of it: HTTP 400, 405, 413, 501."""


class IncompleteList(Unreachable):
    """A page of a list after the first one is missing or refused: the registry answers, but the list is incomplete."""


class EngineUnusable(Unreachable):
    """The engine answers, and can't be used: no permission, other TLS, or an unknown format."""


class BlockedAddress(Unreachable):
    """A server refers to a blocked address: the user's own network, or another origin with credentials."""


class Temporary(Unreachable):
    """Temporary failure. `wait_s` is the wait before the next try that the server asked for, else 0."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class EngineError(AuditError):
    """The Dask cluster does not answer, or its workers are unsuitable."""


class StoreError(AuditError):
    """The store of sweeps can't be opened, read or written."""


class LeaseHeld(StoreError):
    """Another process holds the lease."""


class LeaseLost(StoreError):
    """Another process took the lease of this one, which was suspended for longer than a term."""


class AttestationError(AuditError):
    """No attestation of an image is valid: it is missing, damaged, of another image, or not signed with the key."""


class RecoverError(AuditError):
    """No layer has the file, or several have it and none was chosen."""


class FlattenError(AuditError):
    """The flattened image failed its proof, and was removed."""
