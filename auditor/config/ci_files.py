"""CI files that build an image and audit it, for GitHub Actions and GitLab."""

from __future__ import annotations

import posixpath
import re

from auditor.core.dataclass import dataclass

_SOURCE = "git+https://git.example.com/tools/image-audit"
SOURCE_HINT = "IMAGE_AUDIT is the address of your copy of image-audit: git+URL of a clone, or a wheel"
_PLAIN_PATH = re.compile(r"[\w.][\w./-]*")
_GITHUB = """\
# Builds the image and audits it. Findings are shown in code scanning.
name: image-audit
on:
  push: {{branches: [main]}}
  pull_request:
permissions:
  contents: read
  security-events: write
env:
  # {hint}.
  IMAGE_AUDIT: {source}
jobs:
  image-audit:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-python@v6
        with:
          python-version: "3.12"
      - run: pip install --quiet "$IMAGE_AUDIT"
      - run: docker build -f {dockerfile} -t image-audit-target:ci {context}
      - run: image-audit scan image-audit-target:ci --dockerfile {dockerfile} -o image-audit.sarif
      - uses: github/codeql-action/upload-sarif@v4
        if: always() && hashFiles('image-audit.sarif') != ''
        with:
          sarif_file: image-audit.sarif
"""
_GITLAB = """\
# Audits the image that an earlier job pushed to the project's registry. Include it in .gitlab-ci.yml:
#   include: [{{local: {path}}}]
image-audit:
  stage: test
  image: python:3.12-slim
  variables:
    # {hint}.
    IMAGE_AUDIT: {source}
    IMAGE_AUDIT_IMAGE: $CI_REGISTRY_IMAGE:$CI_COMMIT_SHORT_SHA
    DOCKER_CONFIG: /tmp/image-audit-docker
  before_script:
    - apt-get update && apt-get install -y --no-install-recommends git
    - pip install --quiet --disable-pip-version-check "$IMAGE_AUDIT"
    - mkdir -p "$DOCKER_CONFIG"
    - |
      printf '{{"auths": {{"%s": {{"auth": "%s"}}}}}}' "$CI_REGISTRY" \\
        "$(printf '%s:%s' "$CI_REGISTRY_USER" "$CI_REGISTRY_PASSWORD" | base64 -w 0)" >"$DOCKER_CONFIG/config.json"
  script:
    - |
      image-audit scan -o gl-secret-detection-report.json -o image-audit.xml -o image-audit.html \\
        "docker://$IMAGE_AUDIT_IMAGE"
  artifacts:
    when: always
    paths: [image-audit.html]
    reports:
      secret_detection: gl-secret-detection-report.json
      junit: image-audit.xml
"""


@dataclass(frozen=True, slots=True)
class CiSystem:
    """A CI system: the path of its file, the path that shows that a repository uses it, and the next step."""

    name: str
    path: str
    sign: str
    template: str
    next_step: str

    def text(self, dockerfile: str) -> str:
        """Return the file. A Dockerfile with an unusual name is replaced by `Dockerfile`, for the user to correct."""
        path = dockerfile if _PLAIN_PATH.fullmatch(dockerfile) else "Dockerfile"
        context = posixpath.dirname(path) or "."
        return self.template.format(hint=SOURCE_HINT, source=_SOURCE, dockerfile=path, context=context, path=self.path)


CI_SYSTEMS = {
    one.name: one
    for one in (
        CiSystem("github", ".github/workflows/image-audit.yml", ".github", _GITHUB, "set IMAGE_AUDIT in {path}"),
        CiSystem(
            "gitlab", ".gitlab/image-audit.gitlab-ci.yml", ".gitlab-ci.yml", _GITLAB,
            "set IMAGE_AUDIT in {path}, and add `include: [{{local: {path}}}]` to .gitlab-ci.yml",
        ),
    )
}  # fmt: skip
