"""Every error that image-audit raises on purpose.

AuditError                 one line for the user; the command line ends with exit code 2
├── UsageError             an option, a target or a reference that makes no sense
├── ConfigError            .image-audit.yaml, a baseline
├── DockerfileError        a Dockerfile, or its .dockerignore, that can't be read
├── MissingLibrary         a library that the command needs is not installed
├── RuleError              a rule that is malformed or does not hold its own examples
├── ImageError             the image can't be read
│   ├── NotAnImage         the bytes are something else
│   ├── Damaged            the bytes are not what they say they are
│   └── NotFound           no such image, tag, platform or container
├── Unreachable            no engine or registry answers there
│   ├── Unauthorized       it answers, and wants other credentials
│   ├── BlockedAddress     it refers to an address or origin that is blocked
│   ├── EngineUnusable     an engine is there, and refuses: no permission, other TLS, no sensible answer
│   └── Temporary          a failure that may pass: a broken connection, 429, 503
├── EngineError            the Dask cluster does not answer, or its workers are not as they must be
├── StoreError             the store of a registry's sweeps can't be opened, read or written
├── RecoverError           no such file in any layer, or several and none named
└── FlattenError           what was written does not hold what it must; nothing is left of it

The message says what is wrong, where, and what to do, in one line; the command line prints it as it stands.
"""

from __future__ import annotations

import re

_LOGINS = (
    # Up to the last @ before the path: a password may hold one.
    re.compile(r"(?<=://)[^\s/@'\"]*(?:@[^\s/@'\"]*)*@(?=[^\s/@])"),
    # A password with a slash: what stands before the last @, unless it is a port and a path.
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
    """Return in one line why something failed; of an error that nobody foresaw only its class."""
    match error:
        case AuditError():
            return str(error)
        case OSError() | MemoryError():
            place, cause = getattr(error, "filename", None), getattr(error, "strerror", None)
            return without_logins(f"{place or 'system'}: {cause or error or 'out of memory'}")
        case _:  # its text could show what an image holds
            return f"internal error: {type(error).__name__}; please report it, with IMAGE_AUDIT_DEBUG=1 set"


class AuditError(Exception):
    """Base of all errors that the user is meant to read. No login of a URL stands in its text."""

    def __str__(self) -> str:
        return without_logins(" ".join(super().__str__().split()))


class UsageError(AuditError):
    """An option, a target or a reference that makes no sense."""


class ConfigError(AuditError):
    """A configuration or baseline file that can't be used."""


class DockerfileError(AuditError):
    """A Dockerfile, or its .dockerignore, that can't be read."""


class MissingLibrary(AuditError):
    """A library that the command needs is not installed, or can't be loaded."""


class RuleError(AuditError):
    """A rule that is malformed or does not hold its own examples."""


class ImageError(AuditError):
    """The image can't be read."""


class NotAnImage(ImageError):
    """The bytes at the target are no image in any known form."""


class Damaged(ImageError):
    """The bytes of an image are not what its manifest says, or break their own format."""


class NotFound(ImageError):
    """There is no such image, tag, platform or container."""


class Unreachable(AuditError):
    """No engine or registry answers at the address."""


class Unauthorized(Unreachable):
    """The registry or engine wants other credentials."""


class EngineUnusable(Unreachable):
    """An engine is there, and can't be used: it grants no permission, wants other TLS, or gives no sensible answer."""


class BlockedAddress(Unreachable):
    """A server refers to a blocked address: the user's own network, or another origin with credentials."""


class Temporary(Unreachable):
    """A failure that may pass. `wait_s` is how long the server asks to wait before the next try; 0 if it does not."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class EngineError(AuditError):
    """The Dask cluster does not answer, or its workers are not as they must be."""


class StoreError(AuditError):
    """The store of a registry's sweeps can't be opened, read or written."""


class RecoverError(AuditError):
    """No layer holds the file, or several do and none was named."""


class FlattenError(AuditError):
    """The flattened image does not hold what it must; nothing of it is left."""
