"""Names of variables and files that usually hold secrets."""

from __future__ import annotations

import re
from enum import IntEnum

from auditor.core.dataclass import dataclass
from auditor.detect.heuristics.plausibility import rejecting_heuristic
from auditor.detect.heuristics.word_lists import weak_passwords

_SECRET_NAME = re.compile(
    r"(?i)(?:passw(?:or)?d|passphrase|pword|secret|token|"
    r"(?:api|access|secret|private|auth|signing|encryption|deploy|ssh|master)_?key|"
    r"(?:^|_)(?:pass|pwd|pw|auth|auth_?config|creds?|credentials?)|[a-z0-9]_key)s?"
    r"(?:_?(?:base|base64|b64|prod(?:uction)?|staging|dev|test|ci|ro|rw|value|default|\d{1,2}))?$"
)
_NO_SECRET = re.compile(
    r"(?i)(?:^|_)(?:public|pub|allow|enable|disable|use|no|require|skip|has|is|show|csrf|xsrf|cache|sort|partition|"
    r"primary|foreign|gpg|pgp|signed_by|apt|host|idempotency|max|min|num)(?:_|$)|bypass|compass|^gpg_?keys?$"
)
_PASSWORD = re.compile(r"(?i)pass|pwd|pword|(?:^|_)pw")
_AUTH = re.compile(r"(?i)auth|cred")
_NO_VALUE = re.compile(
    r"(?i)(?:true|false|yes|no|on|off|none|null|nil|enabled|disabled|auto|\d{1,4}|https?://[^@\s]*)?$"
)
_PLACEHOLDER = re.compile(
    r"(?i)change|replace|your|dummy|placeholder|example|sample|redacted|fixme|todo|unset|not[_-]?set|fake|xxx|\*\*\*|\.\.\.|"
    r"^<.*>$|^\[.*\]$|^%.*%$"
)
# Heuristics that do not apply to variables named like a secret: _WORDS match passwords chosen by people, _WEAK values
# that are easy to guess.
_WORDS = ("word", "identifier", "sequence", "sentence")
_WEAK = (*_WORDS, "weak-token", "placeholder", "password-name")


class ValueStrength(IntEnum):
    """Strength of the value of a variable that is named like a secret."""

    NONE = 0
    WEAK = 1
    SECRET = 2


def is_secret_name(name: str) -> bool:
    """Return whether a variable is named like a secret, and not like a file, an address or a switch."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name)


def value_strength(name: str, value: str) -> ValueStrength:
    """Rate the value of a variable named like a secret: references, paths, addresses and placeholders are none."""
    if _NO_VALUE.match(value) or value.startswith("/") or "$" in value or "`" in value or _PLACEHOLDER.search(value):
        return ValueStrength.NONE
    heuristic = rejecting_heuristic(value, f"{name}={value}", "")
    is_weak = value.lower() in weak_passwords()
    if heuristic is None or (heuristic.name in _WORDS and not is_weak and _PASSWORD.search(name)):
        return ValueStrength.SECRET
    is_weak = is_weak or heuristic.name in _WEAK
    return ValueStrength.WEAK if is_weak and not _AUTH.search(name) else ValueStrength.NONE


def is_literal(name: str, value: str) -> bool:
    """Return whether the value of a variable named like a secret is a strong one."""
    return value_strength(name, value) is ValueStrength.SECRET


@dataclass(frozen=True, slots=True)
class SecretFileName:
    """Kind of secret file by its name. `certain`: files of that name always hold a secret."""

    kind: str
    certain: bool = True


_SAMPLE = re.compile(
    r"(?i)(?:^|[._-])(?:example|sample|template|tmpl|dist|defaults?|schema|test|j2|tpl|md)(?:$|[._-])|\.pub$"
)
_FILES = tuple(
    (re.compile(rf"(?i)(?:^|/)(?:{pattern})$"), SecretFileName(what, certain))
    for pattern, what, certain in (
        (r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_\w+)?|[\w.-]+\.ppk|ssh_host_\w+_key", "SSH private key", True),
        (r"\.ssh", "folder of SSH keys", True),
        (r"[\w.-]+\.(?:p12|pfx|jks|keystore|bks)", "key store", True),
        (r"[\w.-]*\.(?:pem|key)", "private key", False),
        (r"\.env(?:rc|\.[\w.-]+)?|(?:prod(?:uction)?|staging|secrets?|local)\.env", "environment file", True),
        (r"\.npmrc|\.yarnrc(?:\.yml)?", "npm configuration", False),
        (r"\.pypirc|pip\.conf", "PyPI configuration", False),
        (r"[._]netrc", "netrc with logins", True),
        (r"\.git-credentials", "Git credentials", True),
        (r"auth\.json", "Composer logins", False),
        (r"settings\.xml", "Maven settings", False),
        (r"gradle\.properties", "Gradle properties", False),
        (r"nuget\.config", "NuGet configuration", False),
        (r"\.(?:cargo/credentials(?:\.toml)?|gem/credentials)", "package registry login", True),
        (r"\.bundle/config", "Bundler configuration", False),
        (r"\.aws(?:/credentials)?|aws[_-]credentials", "AWS credentials", True),
        (r"\.docker/config\.json|\.dockercfg|\.dockerconfigjson|\.docker", "registry logins", False),
        (r"\.kube(?:/config)?|kubeconfig(?:\.ya?ml)?|[\w.-]+\.kubeconfig", "Kubernetes configuration", True),
        (r"[\w.-]*\.tfstate(?:\.backup)?", "Terraform state", True),
        (r"[\w.-]*\.tfvars(?:\.json)?", "Terraform variables", False),
        (r"\.pgpass|\.my\.cnf|\.mylogin\.cnf", "database login", True),
        (r"\.vault[-_]token|\.vault_pass(?:word)?(?:\.txt)?", "Vault token", True),
        (r"(?:service[_-]?account|gcp|google)[\w-]*\.json|application_default_credentials\.json",
         "Google service account key", False),
        (r"(?:secrets?|credentials?|passwords?|token)(?:\.(?:txt|env|key))?", "file of secrets", True),
        (r"(?:secrets?|credentials?|passwords?)\.(?:json|ya?ml|ini|toml|xml|properties|cfg|conf)",
         "file of secrets", False),
        (r"master\.key|\.htpasswd|\.s3cfg|\.boto", "file of credentials", True),
    )
)  # fmt: skip


def classify_file_name(path: str) -> SecretFileName | None:
    """Return the kind of secret file that a path names, or None. Samples and public keys are not secret files."""
    name = path.rstrip("/").rpartition("/")[2]
    if _SAMPLE.search(name):
        return None
    return next((found for regex, found in _FILES if regex.search(path.rstrip("/"))), None)
