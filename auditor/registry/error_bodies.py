"""Messages of error responses: the forms of the OCI specification and of the APIs of registries.

    OCI, Harbor, Artifactory   {"errors": [{"code", "message"}]}
    token server of Docker     {"details"}
    Docker Hub                 {"message"} or {"detail"}
    GitLab                     {"message"} or {"error", "error_description"}
    GitHub                     {"message", "documentation_url"}
    Quay                       {"error_message", "error_type"} or {"message"}
    Google                     {"error": {"code", "message", "status"}}

Responses in HTML or plain text, as of Nexus and of proxies, have no message: the status line remains.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

_TEXTS = ("error_message", "error_description", "message", "detail", "details", "title", "error")


def error_message(body: bytes) -> str:
    """Return code and message of an error response; an empty text without one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return next(_messages(document), "")


def _messages(document: object) -> Iterator[str]:
    if not isinstance(document, dict):
        return
    errors = document.get("errors")
    nested = errors[0] if isinstance(errors, list) and errors else document.get("error")
    if isinstance(nested, dict):
        code, message = nested.get("code"), nested.get("message")
        parts = [part for part in (code, message) if isinstance(part, str) and part]
        if parts:
            yield " ".join(parts)
    for key in _TEXTS:
        text = document.get(key)
        if isinstance(text, str) and text:
            yield text
