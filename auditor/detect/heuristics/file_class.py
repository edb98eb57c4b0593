"""Class of a file by its path: the strictness of the plausibility check depends on it."""

from __future__ import annotations

import functools
from enum import IntEnum

from auditor.core.expression import Expression


class FileClass(IntEnum):
    """Kind of a file. Higher class, stricter plausibility check."""

    CREDENTIALS = 0
    """Made for secrets: `.env`, `.netrc`. A word may be a password."""
    CONFIG = 1
    """Configuration, and every file of no other class."""
    CODE = 2
    """Source code and programs. A word is a name."""
    THIRD_PARTY = 3
    """Prose, and files of installed packages. Only random text can be a secret."""
    THIRD_PARTY_TESTS = 4
    """Tests and documentation of packages, download caches. No value is a secret by its context alone."""


_MAX_NAME = 255
"""Longest file name of common file systems. Of a longer one the end counts."""

# Files made for credentials.
_CREDENTIALS = Expression(
    r"""(?ix)^(?:
    \.env(?:rc|\.[\w.-]+)?|[\w.-]+\.env|                                        # environment of a program
    [._]?netrc|\.pgpass|\.my(?:login)?\.cnf|\.git-credentials|                  # clients
    \.npmrc|\.pypirc|\.dockercfg|\.s3cfg|\.boto|                                # package managers, clouds
    [\w.-]*credentials?[\w.-]*|[\w.-]*secrets?[\w.-]*|[\w.-]*passw(?:or)?ds?[\w.-]*|
    [\w.-]*htpasswd|shadow-?|[\w.-]*\.tfvars(?:\.json)?|\.?vault_pass[\w.-]*|tomcat-users\.xml|
    \.?[\w-]*_history|                                                          # shell history
    sftp(?:-config)?\.json|\.?ftpconfig|\.remote-sync\.json|deployment-config\.json|              # editors
    \.(?:esmtp|msmtp|fetchmail|offlineimap|mbsync|mutt|neomutt|neomutt|curl)rc|                  # mail
    sitemanager\.xml|recentservers\.xml|robomongo\.json|robo3t\.json|auth\.json|data-sources\.json|  # clients
    \.?dockerconfigjson
    )$"""
)
# Files of web applications that hold the login of their database.
_CREDENTIALS_IN_CODE = Expression(
    r"(?i)^(?:wp-config|LocalSettings|configuration|config\.inc|settings\.inc|env)\.php[\w.~-]*$"
)
# Configuration written in a programming language: code by its ending, configuration by its name.
_CONFIG_IN_CODE = Expression(
    r"""(?ix)^(?:
    wp-config|config|[\w-]*[._-]config|config[._-][\w-]*|settings|[\w-]*_settings|local_settings|
    configuration|database|db|local|parameters|secrets?|LocalSettings|env|production|staging|credentials?|
    environment(?:\.\w+)?|connect(?:ion)?
    )(?:\.inc)?\.(?:php|py|js|cjs|mjs|ts|rb|exs|groovy|pl)$"""
)
# Source code, markup, styles, build files and programs.
_CODE = Expression(
    r"""(?ix)\.(?:
    py[wix]?|[mc]?js|jsx|[mc]?ts|tsx|vue|svelte|go|java|kts?|scala|groovy|rb|erb|php\d?|phtml|cs|vb|fs|c|cc|
    cpp|cxx|hh?|hpp|hxx|mm?|rs|swift|dart|lua|p[lm]|t|r|jl|exs?|erl|hrl|clj|hs|ml|el|lisp|scm|tcl|awk|ipynb|x?html?|
    jsp|aspx?|cshtml|css|scss|less|map|wasm|so|a|o|pyc|class|dll|exe|bin|proto|graphql|asm|s|vim|gypi?|cmake|m4|in|
    am|ac|xsd|dtd|rng|svg|def|td|inc|zwc|y|ll|mli?|hrl|jinja2?|j2|tmpl
    )$|\.so\.[\d.]+$"""
)
# Documentation and translations, by the name of the file and by its folder.
_PROSE = Expression(
    r"""(?ix)
    \.(?:md|mdx|markdown|rst|adoc|asciidoc|tex|texi|info|pod|pot?|mo|qm|xlf|rtf|[1-9](?:[a-z]{0,4})(?:\.gz)?)$|
    ^(?:readme|change(?:s|log)|licen[cs]e|copying|copyright|authors|news|todo|faq|install|METADATA|PKG-INFO)[\w.-]*$"""
)
_TRANSLATED_FOLDER = Expression(
    r"""(?ix)
    (?:^|/)usr/(?:local/)?share/(?:doc|man|info|help|locale|gtk-doc|doc-base|lintian|mime|icons|fonts|
    zoneinfo|perl|perl5|vim|i18n|bash-completion|zsh)/|
    (?:^|/)(?:locales?|i18n|l10n|lang(?:uages?)?|translations?)/"""
)
# Folders of package managers and of the system. Folders of /usr/share that users fill themselves are left out.
_PACKAGE_FOLDER = Expression(
    r"""(?x)
    (?:^|/)(?:node_modules|site-packages|dist-packages|bower_components|jspm_packages|vendor/[\w.-]+|go/pkg/mod|
    \.cargo/registry|\.rustup|\.m2/repository|gems/[\w.-]+|opt/conda|usr/local/go|
    (?:usr|usr/local|\.pyenv/versions/[\w.-]+)/lib(?:32|64|exec)?|usr/(?:include|s?bin|src/linux[\w.-]*)|
    usr/share(?!/(?:nginx|elasticsearch|kibana|logstash|grafana|tomcat|jenkins|wordpress|phpmyadmin|app))|usr/local/share|
    var/lib/(?:dpkg|apt|gems))/|^/?(?:lib(?:32|64)?|s?bin|package)/"""
)
# Packages as files of their own. A member has the path of its archive as its folder.
_PACKAGE_ARCHIVE = Expression(r"\.(?:whl|egg|gem|crate|nupkg|conda|tgz/package)/")
# Sources of a release, unpacked or in their archive: the folder is named after a version.
_RELEASE_FOLDER = Expression(r"-v?\d+(?:\.\d+)+[\w.+~-]*/")
# Packages as downloaded, under names that tell nothing of their content.
_DOWNLOAD_CACHE = Expression(
    r"""(?x)
    (?:^|/)(?:_cacache|\.cache/(?:pip|yarn|uv|go-build|pypoetry)|\.yarn/cache|var/cache|pip/(?:http|wheels))/"""
)
# Tests, examples and documentation, by the folder and by the name of the file.
_TEST_FOLDER = Expression(
    r"(?i)(?:^|/)(?:tests?|testing|testdata|selftest|__tests__|specs?|fixtures?|examples?|samples?|demos?|mocks?|docs?)/"
)
_TEST = Expression(r"(?i)(?:^|[._-])(?:tests?|specs?|examples?|samples?|fixtures?|mocks?)[\d_-]*\.\w+$|^test_\w+\.py$")


@functools.lru_cache(1 << 12)
def file_class(path: str) -> FileClass:
    """Return the class of the file at a path."""
    cut = path.rfind("/") + 1
    folder, name = path[:cut], path[cut:][-_MAX_NAME:]
    if _is_download_cache(folder):
        return FileClass.THIRD_PARTY_TESTS
    prose = _is_translated_folder(folder) or _PROSE.search(name)
    if _is_package_folder(folder):
        is_test = prose or _is_test_folder(folder) or _TEST.search(name)
        return FileClass.THIRD_PARTY_TESTS if is_test else FileClass.THIRD_PARTY
    if prose:
        return FileClass.THIRD_PARTY
    if _CREDENTIALS_IN_CODE.match(name):
        return FileClass.CREDENTIALS
    if _CONFIG_IN_CODE.match(name):
        return FileClass.CONFIG
    if _CODE.search(name):
        return FileClass.CODE
    return FileClass.CREDENTIALS if _CREDENTIALS.match(name) else FileClass.CONFIG


# Endings of source code, programs, prose, media, checksums and test vectors; of compressed data too.
_SOURCE_ENDING = Expression(
    r"""(?ix)(?:
    py[ixdco]?|[mc]?[jt]s|[jt]sx|flow|vue|svelte|coffee|go|java|class|kt|scala|groovy|rbs?|erb|php|phtml|cs|vb|fs|
    c|cc|cpp|cxx|hh?|hpp|hxx|inl|s|asm|rs|swift|mm?|dart|lua|p[lm]|pod|t|r|jl|exs?|erl|hrl|clj|hs|mli?|el|lisp|scm|tcl|
    awk|vim|x?html?|s?css|less|sass|styl|map|so|a|o|lib|dll|exe|node|wasm|mdx?|markdown|rst|adoc|tex|texi|info|pot?|mo|
    qm|xlf|svg|gif|png|jpe?g|ico|webp|woff2?|[to]tf|eot|proto|graphql|xsd|dtd|rng|xslt?|cmake|m4|am|ac|in|gypi?|f|f90|
    cuh?|[hg]lsl|md5sums|symbols|templates|afm|rsp|
    (?:json|txt|csv|xml)(?=\.(?:gz|bz2|xz|zst)\Z)
    )(?:\.(?:gz|bz2|xz|zst))?\Z"""
)
_COMPRESSED = frozenset(("gz", "bz2", "xz", "zst"))
# Folders that hold documentation, media, package lists, or packages and their metadata as downloaded.
_PROSE_FOLDER = Expression(
    r"""(?x)
    /usr/(?:local/)?share/(?:doc|man|info|help|locale|gtk-doc|i18n|zoneinfo|icons|fonts|mime|vim/vim\d+/doc)/|
    /var/lib/apt/lists/|/(?:babel|python-babel-localedata)/locale-data/|
    /(?:_cacache/content-v\d/sha\d+/[0-9a-f]{2}/[0-9a-f]{2}|\.cache/pip/http(?:-v2)?(?:/[0-9a-f]){5}|\.cache/go-build/[0-9a-f]{2})/\Z"""
)


@functools.lru_cache(1 << 12)
def is_third_party_source(path: str) -> bool:
    """Tell whether the file at an absolute path is code or prose of an installed package, and no configuration.

    Called for every file of an image, some twice, so it does not read content.
    """
    cut = path.rfind("/") + 1
    folder, name = path[:cut], path[cut:]
    stem, dot, ending = name.rpartition(".")
    if ending in _COMPRESSED:
        ending = f"{stem.rpartition('.')[2]}.{ending}"
    if dot and _is_source_ending(ending):
        return (_is_package_folder(folder) or _is_download_cache(folder)) and not _CONFIG_IN_CODE.match(name)
    return _is_prose_folder(folder)


# Files share folders and endings, so each test is cached.


@functools.lru_cache(1 << 10)
def _is_package_folder(folder: str) -> bool:
    return bool(_PACKAGE_FOLDER.search(folder))


def is_in_package_archive(path: str) -> bool:
    """Tell whether a path is that of a member of a package's archive, such as a wheel.

    Anybody can make such an archive, so its members are searched like other files.
    """
    return _PACKAGE_ARCHIVE.search(path) is not None


def is_release_test(path: str) -> bool:
    """Tell whether a path is that of a test or an example in a release: of a package's archive, or of `name-1.2.3/`.

    False for files made for credentials.
    """
    release = _RELEASE_FOLDER.search(path) or _PACKAGE_ARCHIVE.search(path)
    if release is None:
        return False
    cut = path.rfind("/") + 1
    is_test = _TEST_FOLDER.search(path, release.end() - 1) or _TEST.search(path[cut:])
    return is_test is not None and file_class(path) is not FileClass.CREDENTIALS


@functools.lru_cache(1 << 10)
def _is_download_cache(folder: str) -> bool:
    return bool(_DOWNLOAD_CACHE.search(folder))


@functools.lru_cache(1 << 10)
def _is_source_ending(ending: str) -> bool:
    return bool(_SOURCE_ENDING.match(ending))


@functools.lru_cache(1 << 10)
def _is_prose_folder(folder: str) -> bool:
    return bool(_PROSE_FOLDER.search(folder))


@functools.lru_cache(1 << 10)
def _is_translated_folder(folder: str) -> bool:
    return bool(_TRANSLATED_FOLDER.search(folder))


@functools.lru_cache(1 << 10)
def _is_test_folder(folder: str) -> bool:
    return bool(_TEST_FOLDER.search(folder))
