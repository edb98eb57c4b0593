"""Rules for COPY and ADD: secret files copied by name, within a folder, or with the whole context."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from auditor.core.dataclass import dataclass
from auditor.core.finding import Severity
from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.dockerfile.build_context import BuildContext, ContextFile
from auditor.dockerfile.instructions import BuildStep, Stage
from auditor.dockerfile.problems import DockerfileProblem, DockerfileRule
from auditor.dockerfile.secret_names import SecretFileName, classify_file_name, is_secret_name, value_strength
from auditor.dockerfile.stages import StageGraph, copy_sources, copy_target
from auditor.extract.der_keys import is_der_key
from auditor.scan import Scanner

_MAX_NAMED = 5
_MAX_CHECKED = 500
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY|PuTTY-User-Key-File|^openssh-key-v1", re.M)
_LOGIN = re.compile(
    r"(?im)(?:_authToken|_auth|_password)\s*=\s*[\"']?(?!\$)\S|npmAuth(?:Token|Ident):\s*[\"']?(?!\$)\S|"
    r"^\s*password\s*[:=]\s*\S|://[^/\s:$]{1,100}:[^/\s$@]{1,300}@|\"auth\"\s*:\s*\"\S"
)
_ASSIGNED = re.compile(r"(?m)^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*[:=]\s*[\"']?([^\s\"'#]+)")
_ADVICE = (
    "Mount it in the step that needs it (RUN --mount=type=secret,id=NAME,target=PATH) or at run time, "
    "and list it in .dockerignore."
)
_GIT_ADVICE = "Mount it in the step that needs it: RUN --mount=type=bind,source=.git,target=PATH."
_URL = re.compile(r"(?i)^(?:https?|git|ssh|ftp)://|^git@")


@dataclass(frozen=True, slots=True)
class SecretBearingFile:
    """File of the context with a secret. `path` is relative, `kind` describes the secret."""

    path: str
    kind: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class CopyRules:
    """Checks the files that instructions copy from the context, by name and content."""

    scanner: Scanner
    graph: StageGraph
    context: BuildContext

    def check(self) -> Iterator[DockerfileProblem]:
        """Yield the problems of every COPY and ADD."""
        for stage, step in self.graph.steps():
            one = step.instruction
            if one.keyword in ("COPY", "ADD") and not one.flag("from"):
                yield from self._copy(stage, step)

    def _copy(self, stage: Stage, step: BuildStep) -> Iterator[DockerfileProblem]:
        escape = self.graph.dockerfile.escape
        for source in copy_sources(step, escape):
            if _URL.match(source):
                continue
            entries = self.context.matching(source, step.instruction.flag("exclude"))
            if is_whole_context(source):
                yield from self._context(stage, step, entries)
            else:
                yield from self._named(stage, step, source, entries)

    def _context(self, stage: Stage, step: BuildStep, entries: Sequence[ContextFile]) -> Iterator[DockerfileProblem]:
        secret_files = self.secret_files(entries)
        git = next((entry for entry in entries if entry.path == ".git"), None)
        if not secret_files and git is None:
            return
        contents = [_listed(secret_files)] if secret_files else []
        contents += [".git with the whole history"] if git else []
        worst = max((one.severity for one in secret_files), key=lambda severity: severity.rank, default=Severity.MEDIUM)
        names = [one.path for one in secret_files] + ([".git"] if git else [])
        target = copy_target(step, self.graph.dockerfile.escape)
        excluded = ", ".join(names[:_MAX_NAMED]) + (", …" if len(names) > _MAX_NAMED else "")
        yield self._problem(
            stage, step, DockerfileRule.COPY_CONTEXT, [posixpath.join(target, name) for name in names], worst,
            f"The whole context is copied, with {' and '.join(contents)}",
            f"Exclude it in .dockerignore ({excluded}), or copy only what the image needs.",
        )  # fmt: skip

    def _named(
        self, stage: Stage, step: BuildStep, source: str, entries: Sequence[ContextFile]
    ) -> Iterator[DockerfileProblem]:
        keyword = step.instruction.keyword
        path = posixpath.normpath(source).lstrip("/")
        known = classify_file_name(source)
        alone = len(entries) == 1 and entries[0].path == path
        if (
            not entries
            and known
            and (known.certain or re.search(r"(?i)key|\.npmrc|\.pypirc|credential|secret|config|account", path))
        ):
            message = f"{keyword} copies {source} into the image: its name is that of a {known.kind}"
            yield self._problem(
                stage,
                step,
                DockerfileRule.SECRET_FILE_COPIED,
                [self._image_path(step, path, path)],
                Severity.HIGH,
                message,
                _ADVICE,
            )
            return
        secret_files = self.secret_files(entries)
        if secret_files:
            where = "" if alone else f" with {source}"
            message = f"{keyword} copies {_listed(secret_files)} into the image{where}"
            worst = max((one.severity for one in secret_files), key=lambda severity: severity.rank)
            copied = [self._image_path(step, path, one.path) for one in secret_files]
            yield self._problem(stage, step, DockerfileRule.SECRET_FILE_COPIED, copied, worst, message, _ADVICE)
        if path == ".git" and entries:
            message = f"{keyword} copies .git with the whole history into the image"
            yield self._problem(
                stage,
                step,
                DockerfileRule.SECRET_FILE_COPIED,
                [copy_target(step)],
                Severity.MEDIUM,
                message,
                _GIT_ADVICE,
            )

    def secret_files(self, entries: Sequence[ContextFile]) -> list[SecretBearingFile]:
        """Return the files with a secret, most severe first."""
        named = [
            (entry, classify_file_name(entry.path))
            for entry in entries
            if file_class(entry.path) < FileClass.THIRD_PARTY
        ]
        judged = [self._judge(entry, known) for entry, known in named if known is not None and entry.size is not None][
            :_MAX_CHECKED
        ]
        return sorted((one for one in judged if one), key=lambda one: (-one.severity.rank, one.path))

    def _judge(self, entry: ContextFile, known: SecretFileName) -> SecretBearingFile | None:
        content = self.context.read(entry.path)
        if not content:
            return (
                SecretBearingFile(entry.path, known.kind, Severity.HIGH) if content is None and known.certain else None
            )
        if _PRIVATE.search(content) or is_der_key(entry.path, content):
            return SecretBearingFile(entry.path, "private key", Severity.HIGH)
        found = [item for item in self.scanner.searcher.search_bytes(content, "/" + entry.path) if item.confidence.rank]
        if found:
            worst = max((item.rule.severity for item in found), key=lambda severity: severity.rank)
            return SecretBearingFile(entry.path, found[0].rule.name, max(worst, Severity.HIGH, key=lambda s: s.rank))
        text = content.decode("utf-8", "replace")
        if _LOGIN.search(text) or any(is_secret_name(n) and value_strength(n, v) for n, v in _ASSIGNED.findall(text)):
            return SecretBearingFile(entry.path, known.kind, Severity.HIGH)
        if known.kind == "key store":
            return SecretBearingFile(entry.path, known.kind, Severity.HIGH)
        # Name of a secret file, but no known secret in it: low severity, so that the build does not fail.
        return SecretBearingFile(entry.path, known.kind, Severity.LOW) if known.certain else None

    def _problem(
        self,
        stage: Stage,
        step: BuildStep,
        rule: DockerfileRule,
        copied: Sequence[str],
        severity: Severity,
        message: str,
        advice: str,
    ) -> DockerfileProblem:
        """Return a problem. `copied` are the absolute paths of its files in the stage."""
        checked = () if self.graph.in_image(stage) else copied[:_MAX_CHECKED]
        use = next(filter(None, (self.graph.copy_into_image(stage, path) for path in checked)), None)
        if use:
            message += f", through stage {use.by}: line {use.step.instruction.line} copies {use.path} from this stage"
        return DockerfileProblem(
            rule, step.instruction.line, severity, message, advice, copied_to_image=use is not None
        )

    def _image_path(self, step: BuildStep, source: str, path: str) -> str:
        """Return the absolute path of a copied file: below a copied folder, files keep their paths."""
        target = copy_target(step, self.graph.dockerfile.escape)
        if path.startswith(f"{source}/"):
            return posixpath.join(target, path.removeprefix(f"{source}/"))
        return posixpath.join(target, posixpath.basename(path)) if target.endswith("/") else target


def is_whole_context(source: str) -> bool:
    """Return whether a source of COPY is the whole context."""
    return posixpath.normpath(source.lstrip("/") or ".") in (".", "*")


def _listed(secret_files: Sequence[SecretBearingFile]) -> str:
    shown = [f"{one.path} ({one.kind})" for one in secret_files[:_MAX_NAMED]]
    more = len(secret_files) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
