"""Rules for secrets in the text of instructions: settings, build arguments, commands, URLs, here-documents."""

from __future__ import annotations

import re
from collections.abc import Iterator

from auditor.core.dataclass import dataclass
from auditor.core.finding import GUESSABLE, Severity, severity_of
from auditor.detect.matches import Match
from auditor.dockerfile.instructions import BuildStep
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.secret_names import ValueStrength, is_literal, is_secret_name, value_strength
from auditor.dockerfile.secret_values import (
    LONG_OPTION,
    PIPED,
    SETTING,
    URL,
    is_token_user,
    password_option,
    written_files,
)
from auditor.dockerfile.shell_commands import Command, commands
from auditor.dockerfile.shell_words import expand, parse_arguments, parse_assignments, references
from auditor.dockerfile.stages import StageGraph, copy_words
from auditor.scan import Scanner

_MOUNT = "Mount it in the step that needs it: RUN --mount=type=secret,id=NAME, with `docker build --secret id=NAME,…`."
_AT_RUN_TIME = (
    "Set it when the container starts (docker run --env-file, the orchestrator's secrets), or mount it in one step "
    "with RUN --mount=type=secret."
)
_URL_ADVICE = (
    "Remove the credentials from the URL: use RUN --mount=type=secret with a netrc or credential helper, or RUN "
    "--mount=type=ssh for git."
)
_COMMANDS = ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK", "SHELL")


@dataclass(frozen=True, slots=True)
class TextRules:
    """Finds secrets in instructions with the detection rules of a scanner and by names of variables."""

    scanner: Scanner
    graph: StageGraph

    def check(self) -> Iterator[DockerfileProblem]:
        """Yield the problems of every instruction, in the order of the file."""
        for step in _before_stages(self.graph):
            yield from self._argument(step)
        for stage in self.graph.stages:
            for step in (stage.start, *stage.steps):
                yield from self._step(step)

    def _step(self, step: BuildStep) -> Iterator[DockerfileProblem]:
        one = step.instruction
        match one.keyword:
            case "ENV" | "LABEL":
                yield from self._settings(step)
            case "ARG":
                yield from self._argument(step)
            case "COPY" | "ADD":
                yield from self._heredocs(step)
            case _ if one.keyword not in _COMMANDS:
                yield from self._found(
                    step, DockerfileRule.SECRET_IN_ENV, one.text, f"{one.keyword} holds", _AT_RUN_TIME
                )
        if one.keyword in _COMMANDS:
            yield from self._command(step)
        yield from self._urls(step)

    def _settings(self, step: BuildStep) -> Iterator[DockerfileProblem]:
        one, escape = step.instruction, self.graph.dockerfile.escape
        for name, raw in parse_assignments(one.text, escape):
            value = expand(raw, step.variables)
            named = one.keyword == "ENV" and is_secret_name(name)
            passed = sorted(references(raw) & step.arguments)
            found = list(
                self._found(
                    step, DockerfileRule.SECRET_IN_ENV, f"{name}={value}", f"{one.keyword} {name} is", _AT_RUN_TIME
                )
            )
            if found:
                yield from found
            elif named and passed:
                yield DockerfileProblem(
                    DockerfileRule.SECRET_IN_ENV, one.line, Severity.HIGH,
                    f"ENV {name} keeps the build argument {passed[0]} in the image's environment", _AT_RUN_TIME,
                )  # fmt: skip
            elif named and (literal := _literal_setting("ENV", name, value)):
                yield DockerfileProblem(DockerfileRule.SECRET_IN_ENV, one.line, *literal, _AT_RUN_TIME)

    def _argument(self, step: BuildStep) -> Iterator[DockerfileProblem]:
        one = step.instruction
        for name, value in parse_arguments(one.text, self.graph.dockerfile.escape):
            found = list(
                self._found(step, DockerfileRule.SECRET_IN_ARG, f"{name}={value or ''}", f"ARG {name} is", _MOUNT)
            )
            yield from found
            if not found and is_secret_name(name):
                taken = (
                    f"ARG {name} takes a secret: build arguments are visible in the image's history and in provenance"
                )
                said = _literal_setting("ARG", name, value or "") or (Severity.HIGH, taken)
                yield DockerfileProblem(DockerfileRule.SECRET_IN_ARG, one.line, *said, _MOUNT)

    def _command(self, step: BuildStep) -> Iterator[DockerfileProblem]:
        one = step.instruction
        text = " ".join(one.words) if one.words is not None else one.text
        texts = [text, *(heredoc.content for heredoc in one.heredocs)]
        found = [
            p
            for text in texts
            for p in self._found(step, DockerfileRule.SECRET_IN_RUN, text, f"{one.keyword} holds", _MOUNT)
        ]
        yield from found
        what = None if found else next(filter(None, map(_literal, texts)), None) or _in_commands(step, self.graph)
        if what:
            yield DockerfileProblem(
                DockerfileRule.SECRET_IN_RUN,
                one.line,
                Severity.HIGH,
                f"{one.keyword} holds a literal secret: {what}",
                _MOUNT,
            )

    def _heredocs(self, step: BuildStep) -> Iterator[DockerfileProblem]:
        one, escape = step.instruction, self.graph.dockerfile.escape
        advice = "Mount the file where it is needed with RUN --mount=type=secret, or at run time."
        for path, data in written_files(step, escape):
            items = self.scanner.searcher.search_bytes(data, path)
            yield from _problems(
                items, step, DockerfileRule.SECRET_FILE_COPIED, f"{one.keyword} writes {path} with", advice
            )

    def _found(
        self, step: BuildStep, rule: DockerfileRule, text: str, what: str, advice: str
    ) -> Iterator[DockerfileProblem]:
        """Yield the matches of detection rules in a text, without credentials in URLs, which `_urls` reports."""
        items = [item for item in self.scanner.searcher.search_text(text) if not _in_url(text, item)]
        yield from _problems(items, step, rule, what, advice)

    def _urls(self, step: BuildStep) -> Iterator[DockerfileProblem]:
        one = step.instruction
        if one.keyword in ("ADD", "COPY") and one.words is None:
            text = " ".join(copy_words(step, self.graph.dockerfile.escape))
        else:
            text = " ".join(one.words) if one.words is not None else one.text
        for searched in (text, *(heredoc.content for heredoc in one.heredocs)):
            for match in URL.finditer(searched):
                problem = _url_problem(match, step)
                if problem:
                    yield problem
                    return


def _literal_setting(keyword: str, name: str, value: str) -> tuple[Severity, str] | None:
    match value_strength(name, value):
        case ValueStrength.SECRET:
            return Severity.HIGH, f"{keyword} {name} sets a literal secret"
        case ValueStrength.WEAK:
            return Severity.MEDIUM, f"{keyword} {name} sets a literal secret that is easy to guess"
    return None


def _before_stages(graph: StageGraph) -> Iterator[BuildStep]:
    for one in graph.dockerfile.instructions:
        if one.keyword == "FROM":
            return
        yield BuildStep(one)


def _problems(
    items: list[Match], step: BuildStep, rule: DockerfileRule, what: str, advice: str
) -> Iterator[DockerfileProblem]:
    for item in items:
        if item.confidence.rank:
            revoke = f" Revoke it at {item.rule.revoke}." if item.rule.revoke else ""
            guessable = ", easy to guess" if item.check == GUESSABLE else ""
            message = f"{what} a secret: {item.rule.name}, {item.secret.masked}{guessable}"
            severity = severity_of(item.rule.severity, item.check)
            yield DockerfileProblem(rule, step.instruction.line, severity, message, advice + revoke)


def _in_url(text: str, item: Match) -> bool:
    data = text.encode("utf-8", "surrogateescape")
    low = data.rfind(b"://", 0, item.start)
    between = data[low : item.start] if low >= 0 else b" "
    return not re.search(rb"[\s/@]", between[3:]) and data[item.end : item.end + 1] == b"@"


def _url_problem(match: re.Match[str], step: BuildStep) -> DockerfileProblem | None:
    user, password, host = match["user"], match["password"], match["host"]
    secret = password or user
    address = f"{match['scheme']}://****@{host}"
    passed = sorted(references(match[0]) & step.arguments)
    if passed:
        message = (
            f"The build argument {passed[0]} is part of the URL {address}, which is visible in the image's history"
        )
        return DockerfileProblem(
            DockerfileRule.CREDENTIALS_IN_URL, step.instruction.line, Severity.HIGH, message, _URL_ADVICE
        )
    if "$" in secret or (password is None and not is_token_user(user, match["scheme"])):
        return None
    strength = value_strength("password", secret)
    if strength is ValueStrength.NONE:
        return None
    severity = Severity.HIGH if strength is ValueStrength.SECRET else Severity.MEDIUM
    guessable = "" if strength is ValueStrength.SECRET else ", easy to guess"
    message = f"Credentials in the URL {address}{guessable}"
    return DockerfileProblem(DockerfileRule.CREDENTIALS_IN_URL, step.instruction.line, severity, message, _URL_ADVICE)


def _literal(text: str) -> str | None:
    """Return the option or variable of a command line that has a literal secret."""
    for pattern in (SETTING, LONG_OPTION):
        for match in pattern.finditer(text):
            name = match["name"].replace("-", "_")
            if is_secret_name(name) and is_literal(name, match["value"]):
                return match["name"]
    piped = PIPED.search(text)
    if piped and is_literal("password", piped["value"].rpartition(":")[2]):
        return f"piped into {piped['sink'].split()[0]}"
    return None


def _in_commands(step: BuildStep, graph: StageGraph) -> str | None:
    if step.instruction.keyword != "RUN":
        return None
    return next(filter(None, map(_login, commands(step, graph.dockerfile.escape))), None)


def _login(command: Command) -> str | None:
    """Return a description of a literal password in an option of a known program."""
    value = password_option(command)
    return f"a password given to {command.name}" if value and is_literal("password", value) else None
