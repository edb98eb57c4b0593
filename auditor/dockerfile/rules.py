"""What each rule is about: the texts of `rules` in SARIF."""

from __future__ import annotations

from auditor.dockerfile.instructions import DockerfileRule

TITLES = {
    DockerfileRule.SECRET_IN_ENV: "Secret in the image's environment, a label or another setting",
    DockerfileRule.SECRET_IN_ARG: "Secret in a build argument",
    DockerfileRule.SECRET_IN_RUN: "Literal secret in a command",
    DockerfileRule.CREDENTIALS_IN_URL: "Credentials in a URL",
    DockerfileRule.SECRET_FILE_COPIED: "File with a secret copied into the image",
    DockerfileRule.COPY_CONTEXT: "Whole context copied, with secret files or .git",
    DockerfileRule.DELETED_LATER: "Removed in a later layer than the one that adds it",
    DockerfileRule.CACHE_ORDER: "Whole context copied before an expensive step",
    DockerfileRule.LARGE_THEN_DELETED: "Large files removed in a later layer than the one that adds them",
}
