"""Where a file stands: how likely one of its name holds secrets of its user's, rather than code or prose of others."""

from __future__ import annotations

import functools
import re
from enum import IntEnum


class FileClass(IntEnum):
    """What kind of file it is: the greater, the stronger must a value look to be taken for a secret."""

    CREDENTIALS = 0
    CONFIG = 1
    CODE = 2
    THIRD_PARTY = 3
    THIRD_PARTY_TESTS = 4


_MAX_NAME = 255
_SECRET_FILES = re.compile(
    r"(?i)(?:^|/)(?:\.env(?:rc|\.[\w.-]+)?|[\w.-]+\.env|[._]?netrc|\.pgpass|\.my(?:login)?\.cnf|\.git-credentials|"
    r"\.npmrc|\.pypirc|\.dockercfg|\.s3cfg|\.boto|[\w.-]*credentials?[\w.-]*|[\w.-]*secrets?[\w.-]*|"
    r"[\w.-]*passw(?:or)?ds?[\w.-]*|[\w.-]*htpasswd|shadow-?|[\w.-]*\.tfvars(?:\.json)?|\.?vault_pass[\w.-]*|"
    r"tomcat-users\.xml|\.?[\w-]*_history|sftp(?:-config)?\.json|\.ftpconfig)$"
)
# Code by its ending, configuration by its use.
_CODED_CONFIG = re.compile(
    r"(?i)(?:^|/)(?:wp-config|config|[\w-]*[._-]config|config[._-][\w-]*|settings|[\w-]*_settings|local_settings|"
    r"configuration|database|db|local|parameters|secrets?|LocalSettings|env|production|staging|credentials?|"
    r"environment(?:\.\w+)?|connect(?:ion)?)(?:\.inc)?\.(?:php|py|js|cjs|mjs|ts|rb|exs|groovy|pl)$"
)
_CODE = re.compile(
    r"(?i)\.(?:py[wix]?|[mc]?js|jsx|[mc]?ts|tsx|vue|svelte|go|java|kts?|scala|groovy|rb|erb|php\d?|phtml|cs|vb|fs|c|cc|"
    r"cpp|cxx|hh?|hpp|hxx|mm?|rs|swift|dart|lua|p[lm]|t|r|jl|exs?|erl|hrl|clj|hs|ml|el|lisp|scm|tcl|awk|ipynb|x?html?|"
    r"jsp|aspx?|cshtml|css|scss|less|map|wasm|so|a|o|pyc|class|dll|exe|bin|proto|graphql|asm|s|vim|gypi?|cmake|m4|in|"
    r"am|ac|xsd|dtd|rng|svg)$|\.so\.[\d.]+$"
)
_PROSE = re.compile(
    r"(?i)(?:\.(?:md|mdx|markdown|rst|adoc|asciidoc|tex|texi|info|pod|pot?|mo|qm|xlf|rtf|[1-9](?:[a-z]{0,4})(?:\.gz)?)|"
    r"(?:^|/)(?:readme|change(?:s|log)|licen[cs]e|copying|copyright|authors|news|todo|faq|install|METADATA|PKG-INFO)"
    r"[\w.-]*)$|(?:^|/)usr/(?:local/)?share/(?:doc|man|info|help|locale|gtk-doc|doc-base|lintian|mime|icons|fonts|"
    r"zoneinfo|perl|perl5|vim|i18n|bash-completion|zsh)/"
    r"|(?:^|/)(?:locales?|i18n|l10n|lang(?:uages?)?|translations?)/"
)
_PACKAGE = re.compile(
    r"(?:^|/)(?:node_modules|site-packages|dist-packages|bower_components|jspm_packages|vendor/[\w.-]+|go/pkg/mod|"
    r"\.cargo/registry|\.rustup|\.m2/repository|gems/[\w.-]+|opt/conda|usr/local/go|"
    r"(?:usr|usr/local|\.pyenv/versions/[\w.-]+)/lib(?:32|64|exec)?|usr/(?:include|s?bin|src/linux[\w.-]*)|"
    r"usr/share(?!/(?:nginx|elasticsearch|kibana|logstash|grafana|tomcat|jenkins|wordpress|phpmyadmin|app))|usr/local/share|"
    r"var/lib/(?:dpkg|apt|gems))/|^/?(?:lib(?:32|64)?|s?bin|package)/"
)
# Packages as they were fetched: other people's files, under names that say nothing.
_CACHE = re.compile(
    r"(?:^|/)(?:_cacache|\.cache/(?:pip|yarn|uv|go-build|pypoetry)|\.yarn/cache|var/cache|pip/(?:http|wheels))/"
)
_TEST = re.compile(
    r"(?i)(?:^|/)(?:tests?|testing|testdata|selftest|__tests__|specs?|fixtures?|examples?|samples?|demos?|mocks?|docs?)/|"
    r"(?:^|[/._-])(?:tests?|specs?|examples?|samples?|fixtures?|mocks?)[\d_-]*\.\w+$|/test_\w+\.py$"
)


@functools.lru_cache(4096)
def file_class(path: str) -> FileClass:
    """Return what kind of file one at this path is. Of a name longer than any file system takes the end counts."""
    cut = path.rfind("/") + 1
    folder = path[:cut]
    path = folder + path[cut:][-_MAX_NAME:]
    if _is_fetched(folder):
        return FileClass.THIRD_PARTY_TESTS
    prose = _PROSE.search(path)
    if _is_installed(folder):
        return FileClass.THIRD_PARTY_TESTS if prose or _TEST.search(path) else FileClass.THIRD_PARTY
    if prose:
        return FileClass.THIRD_PARTY
    if _CODED_CONFIG.search(path):
        return FileClass.CONFIG
    if _CODE.search(path):
        return FileClass.CODE
    return FileClass.CREDENTIALS if _SECRET_FILES.search(path) else FileClass.CONFIG


_SOURCE_ENDINGS = re.compile(
    r"(?i)\.(?:py[ixdco]?|[mc]?[jt]s|[jt]sx|flow|vue|svelte|coffee|go|java|class|kt|scala|groovy|rbs?|erb|php|phtml|cs|vb|fs|"
    r"c|cc|cpp|cxx|hh?|hpp|hxx|inl|s|asm|rs|swift|mm?|dart|lua|p[lm]|pod|t|r|jl|exs?|erl|hrl|clj|hs|mli?|el|lisp|scm|tcl|"
    r"awk|vim|x?html?|s?css|less|sass|styl|map|so|a|o|lib|dll|exe|node|wasm|mdx?|markdown|rst|adoc|tex|texi|info|pot?|mo|"
    r"qm|xlf|svg|gif|png|jpe?g|ico|webp|woff2?|[to]tf|eot|proto|graphql|xsd|dtd|rng|xslt?|cmake|m4|am|ac|in|gypi?|f|f90|"
    r"cuh?|[hg]lsl)\Z"
)
_BOOKS = re.compile(
    r"/usr/(?:local/)?share/(?:doc|man|info|help|locale|gtk-doc|i18n|zoneinfo|icons|fonts|mime)/|/var/lib/apt/lists/"
)


@functools.lru_cache(1 << 14)
def _is_installed(folder: str) -> bool:
    return bool(_PACKAGE.search(folder))


@functools.lru_cache(1 << 14)
def _is_fetched(folder: str) -> bool:
    return bool(_CACHE.search(folder))


@functools.lru_cache(1 << 10)
def _is_source(ending: str) -> bool:
    return bool(_SOURCE_ENDINGS.match(ending))


@functools.lru_cache(1 << 11)
def _is_coded_config(name: str) -> bool:
    return bool(_CODED_CONFIG.search(name))


@functools.lru_cache(1 << 14)
def _is_of_books(folder: str) -> bool:
    return bool(_BOOKS.search(folder))


def is_foreign_source(path: str) -> bool:
    """Whether a file at an absolute path is code or prose of an installed or fetched package, and no settings.

    It is asked for every file of an image, so it looks at no content.
    """
    cut = path.rfind("/") + 1
    folder = path[:cut]
    if _is_source(path[max(path.rfind("."), cut) :]):
        return (_is_installed(folder) or _is_fetched(folder)) and not _is_coded_config(path[cut:])
    return _is_of_books(folder)
