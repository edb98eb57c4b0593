"""Response of a registry to `/v2/` without credentials: it tells the kind of registry, and its token server."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from auditor.core.dataclass import dataclass
from auditor.registry.authentication import parse_challenge
from auditor.registry.client import Client


@dataclass(frozen=True, slots=True)
class Greeting:
    """Headers of the response, and the fields of its challenge; empty texts without one."""

    headers: Mapping[str, str]
    realm: str
    service: str

    @classmethod
    def of(cls, client: Client) -> Greeting:
        """Request `/v2/`. Raises Unreachable if the registry does not answer."""
        headers = client.ping()
        _, fields = parse_challenge(headers.get("WWW-Authenticate", ""))
        return cls(headers, fields.get("realm", ""), fields.get("service", ""))

    @property
    def realm_path(self) -> str:
        """Path of the token server's URL; an empty text on a malformed one."""
        try:
            return urlsplit(self.realm).path
        except ValueError:
            return ""

    def has_header(self, *prefixes: str) -> bool:
        """Whether a header's name begins with one of the prefixes, in lower case."""
        return any(name.lower().startswith(prefixes) for name in self.headers)
