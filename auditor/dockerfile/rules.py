"""What each rule is about: the texts of `rules` in SARIF."""

from __future__ import annotations

from auditor.dockerfile.model import Rule

TITLES = {
    Rule.SECRET_IN_ENV: "Secret in the image's environment, a label or another setting",
    Rule.SECRET_IN_ARG: "Secret in a build argument",
    Rule.SECRET_IN_RUN: "Literal secret in a command",
    Rule.CREDENTIALS_IN_URL: "Credentials in a URL",
    Rule.SECRET_FILE_COPIED: "File with a secret copied into the image",
    Rule.COPY_CONTEXT: "Whole context copied, with secret files or .git",
    Rule.DELETED_LATER: "Removed in a later layer than the one that adds it",
    Rule.CACHE_ORDER: "Whole context copied before an expensive step",
    Rule.LARGE_THEN_DELETED: "Large files removed in a later layer than the one that adds them",
}
