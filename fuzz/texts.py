"""What is fuzzed of texts: files that people write, and what a registry answers."""

from __future__ import annotations

import io
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from auditor.config.file import load_config
from auditor.core.errors import AuditError, ConfigError, DockerfileError, RuleError
from auditor.detect.rules import Ruleset, read_file
from auditor.registry.authentication import Login
from auditor.registry.client import Client
from auditor.registry.reference import parse_reference
from auditor.registry.repository import Repository, repositories
from auditor.registry.retry import Clock
from auditor.scan import Scanner

_MOST = 50  # names of a list that are looked at


def rules(data: bytes) -> None:
    """Parse a file of rules; a pattern that was taken must compile."""
    with _Written(data, "rules.yaml") as path:
        try:
            found = read_file(path)
        except RuleError:
            return
    for _, rule in found:
        if not isinstance(rule, RuleError):
            re.compile(rule.pattern.encode())


def config(data: bytes) -> None:
    """Parse a config file."""
    with _Written(data, ".image-audit.yaml") as path:
        try:
            load_config(path)
        except ConfigError:
            pass


def baseline(data: bytes) -> None:
    """Parse a baseline; what is written of it reads the same again."""
    from auditor.findings.baseline import load_baseline

    with _Written(data, "baseline.yaml") as path:
        try:
            found = load_baseline(path)
        except ConfigError:
            return
        found.save()
        again = {entry.id: entry for entry in load_baseline(path).entries}
        assert again == {entry.id: entry for entry in found.entries}


def dockerfile(data: bytes) -> None:
    """Parse a Dockerfile, and hold all rules against it."""
    from auditor.dockerfile.build_context import BuildContext
    from auditor.dockerfile.check import check
    from auditor.dockerfile.dockerignore import IgnorePatterns
    from auditor.dockerfile.parser import parse
    from auditor.dockerfile.problem_formats import render
    from auditor.dockerfile.problems import FORMATS

    try:
        problems = check(
            parse(data.decode("utf-8", "surrogateescape")), _scanner(), BuildContext(_folder(), IgnorePatterns())
        )
    except DockerfileError:
        return
    for form in FORMATS:
        render(form, Path("Dockerfile"), problems, width=80, color=False).encode()


def ignored(data: bytes) -> None:
    """Compile a .dockerignore, and ask it."""
    from auditor.dockerfile.dockerignore import compile_patterns

    try:
        found = compile_patterns(data.decode("utf-8", "surrogateescape").splitlines())
    except DockerfileError:
        return
    found.excludes("a/b/c.txt")


def registry(data: bytes) -> None:
    """Ask a registry that gives these answers, separated by two zero bytes, for lists, a manifest and a digest."""
    client = Client("registry.invalid", insecure=True, login=Login("user", "word"), clock=_Impatient())
    answers = _Answers(data.split(b"\0\0"))
    client._sender._transmit = answers.answer  # type: ignore[method-assign]
    repository = Repository(client, "team/app")
    for ask in (
        lambda: list(islice(repositories(client), _MOST)),
        lambda: repository.resolve(parse_reference("registry.invalid/team/app:1")),
        lambda: repository.look_up("1"),
        lambda: repository.tags()[:_MOST],
    ):
        try:
            ask()
        except AuditError:
            pass


class _Impatient(Clock):
    """A clock that does not wait between retries."""

    def sleep(self, seconds: float, stopped: threading.Event) -> None:
        """Return at once."""


class _Answers(HTTPAdapter):
    """Answers each request with the next of some texts, and 404 when there are no more: nothing reaches a network.

    An answer is a status, a line of its own for each header, an empty line, and the body.
    """

    def __init__(self, texts: list[bytes]) -> None:
        super().__init__()
        self._texts = iter(texts)

    def answer(self, method: str, url: str, headers: Mapping[str, str], **_more: Any) -> requests.Response:
        """Return the next answer."""
        head, _, body = next(self._texts, b"404").partition(b"\n\n")
        status, *lines = head.decode("latin-1").split("\n")
        received = HTTPHeaderDict()
        for line in lines:
            key, _, value = line.partition(":")
            received.add(key.strip(), value.strip())
        answer = HTTPResponse(
            io.BytesIO(body),
            received,
            int(status) if status.isdecimal() and len(status) == 3 else 200,
            preload_content=False,
            decode_content=False,
        )
        return self.build_response(requests.Request(method, url, headers).prepare(), answer)


class _Written:
    """Bytes as a file in memory, for parsers that take a path."""

    _memory = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())

    def __init__(self, data: bytes, name: str) -> None:
        self._path = self._memory / f"image-audit-fuzz-{os.getpid()}-{name}"
        self._path.write_bytes(data)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink()


@cache
def _scanner() -> Scanner:
    return Scanner(Ruleset(()), 1)


@cache
def _folder() -> Path:
    """An empty folder, as a build context."""
    folder = Path(tempfile.gettempdir()) / f"image-audit-fuzz-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder
