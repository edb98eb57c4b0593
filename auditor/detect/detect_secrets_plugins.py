"""The library detect-secrets as a second detector.

The expressions of its plugins are searched with the rules. Where one hits, the plugin's `analyze_string` and the
library's heuristic filters judge that line. Each plugin is one rule of the ruleset, so it is listed, excluded and
reported like a rule. Left out: entropy plugins (no expression to search), public IP addresses (no secret), GitHub (it
returns the prefix of a token alone), JSON Web Tokens (it leaves off the signature), and network verification.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auditor.core.finding import Confidence, Severity
from auditor.detect.rules import Rule

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin
    from detect_secrets.util.filetype import FileType

_PREFIX = "detect-secrets-"
_MAX_LINE = 1000
"""Characters of a line that a plugin reads: its expressions backtrack on longer lines."""
_BLANKS = re.compile(r"(\s{8})\s+")
"""Blanks beyond eight in a row, which are removed: a plugin tries each split of them among three repeats."""

_INSIDE = re.compile(r"[0-9A-Za-z_+/]")
"""Characters beside a value that make it a part of a longer text, such as base64, and no token."""
_WORD_PLUGINS = frozenset(_PREFIX + suffix for suffix in ("basic-auth", "cloudant", "keyword", "private-key"))
"""Plugins that go by the words around a value; the others know the shape of a token."""
_SHAPES = {
    # Every token has AA behind the number of its bot; the plugin also takes account numbers in names of AWS resources.
    _PREFIX + "telegram": re.compile(r"[0-9]{8,10}:AA[\w-]{33}"),
}
"""Stricter shapes of tokens, by the rule of the plugin."""

# rule suffix: module, class, provider, severity
_PLUGINS = {
    "artifactory": ("artifactory", "ArtifactoryDetector", "jfrog", Severity.HIGH),
    "aws": ("aws", "AWSKeyDetector", "aws", Severity.CRITICAL),
    "azure-storage": ("azure_storage_key", "AzureStorageKeyDetector", "azure", Severity.CRITICAL),
    "basic-auth": ("basic_auth", "BasicAuthDetector", "generic", Severity.HIGH),
    "cloudant": ("cloudant", "CloudantDetector", "ibm", Severity.HIGH),
    "discord": ("discord", "DiscordBotTokenDetector", "discord", Severity.HIGH),
    "gitlab": ("gitlab_token", "GitLabTokenDetector", "gitlab", Severity.CRITICAL),
    "ibm-cloud-iam": ("ibm_cloud_iam", "IbmCloudIamDetector", "ibm", Severity.HIGH),
    "ibm-cos-hmac": ("ibm_cos_hmac", "IbmCosHmacDetector", "ibm", Severity.HIGH),
    "keyword": ("keyword", "KeywordDetector", "generic", Severity.MEDIUM),
    "mailchimp": ("mailchimp", "MailchimpDetector", "mailchimp", Severity.HIGH),
    "npm": ("npm", "NpmDetector", "npm", Severity.HIGH),
    "openai": ("openai", "OpenAIDetector", "openai", Severity.HIGH),
    "private-key": ("private_key", "PrivateKeyDetector", "generic", Severity.HIGH),
    "pypi": ("pypi_token", "PypiTokenDetector", "pypi", Severity.HIGH),
    "sendgrid": ("sendgrid", "SendGridDetector", "sendgrid", Severity.HIGH),
    "slack": ("slack", "SlackDetector", "slack", Severity.HIGH),
    "softlayer": ("softlayer", "SoftlayerDetector", "ibm", Severity.HIGH),
    "square-oauth": ("square_oauth", "SquareOAuthDetector", "square", Severity.HIGH),
    "stripe": ("stripe", "StripeDetector", "stripe", Severity.CRITICAL),
    "telegram": ("telegram_token", "TelegramBotTokenDetector", "telegram", Severity.HIGH),
    "twilio": ("twilio", "TwilioKeyDetector", "twilio", Severity.HIGH),
}


def plugin_rules() -> tuple[Rule, ...]:
    """Return a rule for each plugin, without importing detect-secrets."""
    return tuple(
        Rule(
            id=_PREFIX + suffix,
            name=f"detect-secrets: {suffix.replace('-', ' ')}",
            provider=provider,
            severity=severity,
            confidence=Confidence.LOW if suffix in ("keyword", "private-key") else Confidence.MEDIUM,
            pattern="",
            keywords=(),
            examples=(),
            counterexamples=(),
            generic=True,
            detector="detect-secrets",
            builtin=True,
        )
        for suffix, (_, _, provider, severity) in _PLUGINS.items()
    )


def load_plugins() -> None:
    """Import detect-secrets. Call it in the main thread: its import cycles can deadlock worker threads."""
    for suffix in _PLUGINS:
        _plugin(_PREFIX + suffix)


class _DeferredRequests(ModuleType):
    """The module `requests`, imported at the first use of a name."""

    Response = object  # in annotations of plugins

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("requests"), name)


@contextmanager
def _deferred_requests() -> Iterator[None]:
    """Let modules that are imported within the context import `requests` on first use.

    detect-secrets uses it for network verification alone, which is left out; the import takes 0.06 s.
    """
    name = "requests"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = _DeferredRequests(name)
    try:
        yield
    finally:
        del sys.modules[name]


@functools.cache
def _plugin(rule_id: str) -> BasePlugin:
    module, name, _, _ = _PLUGINS[rule_id.removeprefix(_PREFIX)]
    # First use: the import takes 0.1 s, and an audit of cached layers may not need it.
    with _deferred_requests():
        from detect_secrets.filters import heuristic  # noqa: F401 - `_filtered` imports it, perhaps in a thread

        plugin: BasePlugin = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
    return plugin


def plugin_patterns(rule_id: str) -> list[tuple[str, int]]:
    """Return the expressions, with their `re` flags, of which one must match before a plugin runs."""
    plugin: Any = _plugin(rule_id)
    if rule_id == _PREFIX + "keyword":
        return _keyword_patterns()
    return [(expression.pattern, expression.flags & re.IGNORECASE) for expression in plugin.denylist]


def _keyword_patterns() -> list[tuple[str, int]]:
    """Return the expressions of the keyword plugin that begin with the keyword; the others begin with any quoted text.

    They are cut after the first character of the secret; whole, they would match at each character up to the quote.
    """
    # As in load_plugins.
    from detect_secrets.plugins import keyword

    expressions = (
        keyword.FOLLOWED_BY_COLON_QUOTES_REQUIRED_REGEX,
        keyword.FOLLOWED_BY_EQUAL_SIGNS_QUOTES_REQUIRED_REGEX,
        keyword.FOLLOWED_BY_ARROW_FUNCTION_SIGN_QUOTES_REQUIRED_REGEX,
    )
    begins = (expression.pattern.partition(f"({keyword.SECRET})")[0] for expression in expressions)
    return [(begin + r"[\w\x80-\xff]", re.IGNORECASE) for begin in begins]


def secrets_in_line(rule_id: str, line: str, path: str) -> list[str]:
    """Return the secrets that a plugin finds in a line and the filters of the library accept, in their order."""
    plugin: Any = _plugin(rule_id)
    line = _BLANKS.sub(r"\1", line[:_MAX_LINE])
    if rule_id == _PREFIX + "keyword":
        found = set(plugin.analyze_string(line, denylist_regex_to_group=_keyword_table(path)))
    else:
        found = set(plugin.analyze_string(line))
    ordered = sorted(filter(None, found), key=lambda text: (line.find(text), text))
    whole = [text for text in ordered if _is_whole(rule_id, text, line)]
    return [text for text in whole if not _filtered(text, line, path, plugin)]


def _is_whole(rule_id: str, secret: str, line: str) -> bool:
    """Tell whether a value is a whole token: of its plugin's shape, and no part of a longer text."""
    if rule_id in _WORD_PLUGINS:
        return True
    at = line.find(secret)
    beside = line[max(0, at - 1) : at] + line[at + len(secret) : at + len(secret) + 1]
    shape = _SHAPES.get(rule_id)
    return not _INSIDE.search(beside) and (shape is None or shape.fullmatch(secret) is not None)


def _keyword_table(path: str) -> dict[re.Pattern[str], int]:
    """Return the expressions of the keyword plugin for a file, each with the group of the secret."""
    # As in load_plugins.
    from detect_secrets.util.filetype import determine_file_type

    return _keyword_table_of(determine_file_type(path))


@functools.cache
def _keyword_table_of(file_type: FileType) -> dict[re.Pattern[str], int]:
    # As in load_plugins.
    from detect_secrets.plugins import keyword

    table = keyword.REGEX_BY_FILETYPE.get(file_type, keyword.QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP)
    return {_bounded(expression): group for expression, group in table.items()}


def _bounded(expression: re.Pattern[str]) -> re.Pattern[str]:
    """Return an expression of the keyword plugin with bounded repeats, for linear time on long words.

    Unchanged, a line of 1,000 characters that repeats a keyword takes a second: the parts of the word before and behind
    the keyword are tried at each length. The rest of the expression never needs a part of the word.
    """
    text = expression.pattern.replace(r")\w*", r")\w*+").replace(r"\w*(", r"\w{0,64}(")
    return re.compile(text, expression.flags)


_INDIRECT = re.compile(r"[=!:]\s*[\w.-]+[\[(][^\v]*[\])]")


def _filtered(secret: str, line: str, path: str, plugin: BasePlugin) -> bool:
    """Apply the heuristic filters of the library.

    Two are reimplemented with equal results: `is_indirect_reference` takes cubic time, `is_swagger_file` quadratic.
    """
    # As in load_plugins.
    from detect_secrets.filters import heuristic

    return bool(
        heuristic.is_sequential_string(secret)
        or heuristic.is_potential_uuid(secret)
        or heuristic.is_likely_id_string(secret, line, plugin)
        or heuristic.is_templated_secret(secret)
        or heuristic.is_prefixed_with_dollar_sign(secret)
        or _INDIRECT.search(line)
        or heuristic.is_lock_file(path)
        or heuristic.is_not_alphanumeric_string(secret)
        or "swagger" in path
    )
