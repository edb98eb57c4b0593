"""Secrets in the text of an instruction, in clear: by detection rules, options, variables, URLs, pipes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.core.dataclass import dataclass
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.secret_names import is_secret_name, value_strength
from auditor.dockerfile.shell_commands import Command, commands
from auditor.dockerfile.shell_words import parse_assignments
from auditor.dockerfile.stages import absolute_path, copy_target
from auditor.scan import Scanner

URL = re.compile(
    r"(?i)\b(?P<scheme>[a-z][a-z0-9+.-]{1,20})://(?P<user>[^\s/@:\"'`<>]{0,100})"
    r"(?::(?P<password>[^\s/@\"'`<>]{1,300}))?@(?P<host>[\w.\[$%{-]+)"
)
SETTING = re.compile(
    r"(?<![\w$])(?:export\s+|set\s+|--)?(?P<name>[A-Za-z][\w-]*)=(?P<quote>[\"']?)(?P<value>[^\s\"';&|)]+)(?P=quote)"
)
LONG_OPTION = re.compile(
    r"--(?P<name>[a-z][a-z-]*)[ \t]+(?P<quote>[\"']?)(?P<value>[^\s\"';&|)-][^\s\"';&|)]*)(?P=quote)"
)
PIPED = re.compile(
    r"\b(?:echo|printf)\s+(?:-\w+\s+)*(?P<quote>[\"'])?(?P<value>[^\s\"'|]+)(?P=quote)?\s*\|[^|;&\n]{0,200}?"
    r"(?P<sink>--password-stdin|chpasswd|--passphrase-fd|passwd\s+--stdin)"
)


_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY[A-Z ]{0,40}-----([^-]{1,32768})")


@dataclass(frozen=True, slots=True)
class LiteralSecret:
    """A secret as it stands in an instruction. `name` is that of its variable, option or token; `value` is in clear."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"LiteralSecret({self.name})"


def literal_secrets(scanner: Scanner, step: BuildStep, escape: str) -> Iterator[LiteralSecret]:
    """Yield the secrets in the text and the here-documents of an instruction, in clear, to replace or mask them."""
    one = step.instruction
    text = " ".join(one.words) if one.words is not None else one.text
    for searched in (text, *(heredoc.content for heredoc in one.heredocs)):
        data = searched.encode("utf-8", "surrogateescape")
        for item in scanner.searcher.search_text(searched):
            if item.confidence.rank:
                value = data[item.start : item.end].decode("utf-8", "surrogateescape")
                yield LiteralSecret(f"{item.rule.provider}_token", value)
        yield from _by_syntax(searched)
    for path, data in written_files(step, escape):
        for item in scanner.searcher.search_bytes(data, path):
            yield LiteralSecret(f"{item.rule.provider}_token", data[item.start : item.end].decode("utf-8", "replace"))
    passwords = map(password_option, commands(step, escape)) if one.keyword == "RUN" else ()
    yield from (LiteralSecret("password", password) for password in passwords if password)
    if one.keyword in ("ENV", "LABEL", "ARG"):
        for name, setting in parse_assignments(one.text, escape):
            if is_secret_name(name) and value_strength(name, setting):
                yield LiteralSecret(name, setting)


def written_files(step: BuildStep, escape: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each here-document that COPY or ADD writes to a file."""
    one = step.instruction
    for heredoc in one.heredocs if one.keyword in ("COPY", "ADD") else ():
        target = copy_target(step, escape)
        path = absolute_path(heredoc.name, target) if target.endswith("/") else target
        yield path, heredoc.content.encode("utf-8", "surrogateescape")


def _by_syntax(text: str) -> Iterator[LiteralSecret]:
    """Yield the values of options, variables, URLs and pipes that are named like secrets."""
    for pattern in (SETTING, LONG_OPTION):
        for match in pattern.finditer(text):
            name = match["name"].replace("-", "_")
            if is_secret_name(name) and value_strength(name, match["value"]):
                yield LiteralSecret(name, match["value"])
    for match in URL.finditer(text):
        secret = match["password"] or match["user"]
        if "$" not in secret and (match["password"] or is_token_user(secret, match["scheme"])):
            yield LiteralSecret("password", secret)
    yield from (LiteralSecret("private_key", match[1]) for match in _KEY.finditer(text))
    for piped in PIPED.finditer(text):
        yield LiteralSecret("password", piped["value"].rpartition(":")[2])


def is_token_user(user: str, scheme: str) -> bool:
    """Return whether a user without password is a token: a long one of an HTTP URL, `https://TOKEN@host`."""
    return scheme.lower().endswith(("http", "https")) and len(user) >= 16


def password_option(command: Command) -> str | None:
    """Return the password in an option of a known program."""
    value = None
    match command.name:
        case "curl" | "wget" | "http":
            login = command.option("-u", "--user", "--proxy-user")
            value = login.partition(":")[2] if login else None
        case "sshpass":
            value = command.option("-p") or next(
                (w[2:] for w in command.words if w.startswith("-p") and len(w) > 2), None
            )
        case "mysql" | "mysqladmin" | "mysqldump" | "mariadb":
            value = next((word[2:] for word in command.words if re.fullmatch(r"-p\S{3,}", word)), None)
        case "docker" | "podman" | "helm" | "skopeo" | "buildah" | "az":
            value = command.option("-p", "--password") if "login" in command.words else None
    return value
