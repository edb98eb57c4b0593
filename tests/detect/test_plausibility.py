"""Plausibility of values: each heuristic by a table of rejected and kept values, then all together."""

from __future__ import annotations

from itertools import pairwise

import pytest

from auditor.core.finding import Confidence
from auditor.detect.heuristics.file_class import FileClass, file_class, is_release_test, is_third_party_source
from auditor.detect.heuristics.plausibility import (
    HEURISTICS,
    Heuristic,
    applied_heuristics,
    entropy,
    guessable_confidence,
    looks_random,
    rejecting_heuristic,
)
from auditor.detect.heuristics.word_lists import identifier_words, placeholder_words, reads_like_words, words

RANDOM = "kX9fLq2mZr8vTn4cWb7y"
UUID = "bcd2f1b8-9a78-44d3-8a7a-4dd07d7cf635"
HEX = "8f14e45fceea167a5a36dedd4bea2543"
LONG = "x=1;" * 300

CASES: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    # name of the heuristic: (value, line) that it rejects, (value, line) that it keeps
    "third-party-tests": ([(RANDOM, ""), ("hunter2", "")], []),
    "not-random": (
        [("hunter2Gz9", ""), ("bcd2f1b8-9a78-44d3-8a7a-4dd07d7cf635", ""), ("getElementsByTagName2", "")],
        [(RANDOM, ""), (HEX, "")],
    ),
    "placeholder": (
        [("changeme", ""), ("<password>", ""), ("enter password", ""), ("senha", ""), ("aabb", ""), ("'xxxxxx'", "")],
        [("sunshine", ""), ("hunter2Gz9qLp", ""), ("r00tpw!", "")],
    ),
    "reference": (
        [("${DB_PASSWORD}", ""), ("{{ token }}", ""), ("os.environ['X']", ""), ("getSecret(", ""), ("vault:db/pw", "")],
        [("Sup3r$ecret!", ""), ("Xq7(z", "")],
    ),
    "example-address": (
        [("s3cretpw", "http://bob:s3cretpw@example.com/"), ("hunter", "db://user:hunter@db.acme.io/")],
        [("s3cretpw", "http://bob:s3cretpw@db.acme.io/"), ("s3cretpw", "pw = s3cretpw")],
    ),
    "structured": (
        [
            ("/run/secrets/db", ""),
            ("https://acme.io/x", ""),
            ("2024-01-31", ""),
            ("1.2.3", ""),
            (f"md5:{HEX}", ""),
            ("RS256", ""),
            ("[a-zA-Z0-9]+", ""),
            ("us-east-1_AbCdEf123", ""),
        ],
        [("https://u:p@acme.io", ""), (f"/{RANDOM}", ""), ("SHA256x9", "")],
    ),
    "digest": (
        [(HEX, f"checksum: {HEX}"), (HEX, f'"gitHead": "{HEX}"')],
        [(HEX, f"token: {HEX}"), ("hunter2", "checksum: hunter2")],
    ),
    "binary": ([("hunt\x01er2", ""), ("a\x7fb", "")], [("hunter2", ""), ("naïve pass", "")]),
    "markup": ([("<b>secret</b>", ""), ("a&nbsp;b", "")], [("a<B>c", ""), ("a&1b", "")]),
    "other-name": (
        [
            (RANDOM, f'"nextToken": "{RANDOM}"'),
            (RANDOM, f"tokenType = '{RANDOM}'"),
            ("x1", "bypass = x1"),
            ("db-1", "getSecret('db-1')"),
        ],
        [(RANDOM, f'"apiToken": "{RANDOM}"'), ("x1", "password = x1")],
    ),
    "plain-key": (
        [("created_at_2024", "sort_key: created_at_2024"), (UUID, f"row_key={UUID}"), ("x1y2", "<vendorKey>x1y2")],
        [(RANDOM, f"vendor_key = {RANDOM}"), ("x1y2", "api_key = x1y2"), ("x1y2", "name: x1y2")],
    ),
    "identifier": (
        [("resetPasswordForm", "password: x"), ("some_words", "token = some_words"), ("user.account", "")],
        [("correct-horse-battery-staple", "password=x"), ("reset2Form", "")],
    ),
    "sentence": (
        [("Enter", "password: Enter your password here")],
        [("Enter", "password: 'Enter your password here'"), ("hunter2", "password: hunter2 is it")],
    ),
    "weak-token": (
        [
            ("abc", "token = abc"),
            ("aaabbb", "token = aaabbb"),
            ("manager", "api_key = manager"),
            ("btn-primary-24", "token = btn-primary-24"),
            ("access_token_v2", "token = access_token_v2"),
            ("V1SecretEnvSource", "token = V1SecretEnvSource"),
        ],
        [("abc", "password = abc"), (RANDOM, f"token = {RANDOM}")],
    ),
    "type-name": (
        [("Base64URLString", "token: Base64URLString")],
        [("Base64URLString", "token: 'Base64URLString'"), ("Base64URLString", "password: Base64URLString")],
    ),
    "list-item": (
        [
            ("fullname", "['password', 'fullname']"),
            ("PHONE", '["PASSWORD", "PHONE"]'),
            ("TagSettings", '"Password",\n"TagSettings",'),
            ("hostId", 'get("password"),\n"hostId": 1'),
        ],
        [
            ("fullname", "password: 'fullname'"),
            ("r00tpw", "('password', 'r00tpw')"),
            ("Hunter2!", 'set(\n"password",\n"Hunter2!")'),
            ("TagSettings", '("app", "password", "TagSettings")'),
        ],
    ),
    "minified-code": (
        [("hunter2", f"{LONG}password='hunter2'"), (RANDOM, f"{LONG}token={RANDOM}")],
        [("hunter2", "password='hunter2'"), (RANDOM, f"{LONG}token='{RANDOM}'")],
    ),
    "expression": (
        [
            ("self.password", "password = self.password"),
            ("n0depw", "password = n0depw"),
            (RANDOM, f"let token = {RANDOM}"),
            (RANDOM, f"f(a); token: {RANDOM}"),
        ],
        [
            ("n0depw", "password = 'n0depw'"),
            (RANDOM, f"TOKEN={RANDOM}"),
            (RANDOM, f"  // token: {RANDOM}"),
            (RANDOM, f"Token: {RANDOM}"),
        ],
    ),
    "code": ([("a_b_c", ""), ("f(x)y1", ""), ("a==b", "")], [("hunter2", ""), (f"{RANDOM};", "")]),
    "weak-password": ([("admin123", ""), ("Password1", "")], [("r00tpw!", ""), ("hunter2", "")]),
    "sequence": ([("12345678", ""), ("qwertyuiop", ""), ("abcdef1", "")], [("1qaz2wsx", ""), ("hunter2", "")]),
    "password-name": (
        [("dbPassword", ""), ("my-secret", ""), ("admin_pass1", ""), ("mysql-pwd", "")],
        [("dbPa55word", ""), ("hunter2", "")],
    ),
    "word": ([("dependency", ""), ("installed", "")], [("hunter2", ""), ("xkqzvw", "")]),
    "words": ([("correct-horse", ""), ("getElement", "")], [("correct-h0rse", ""), (RANDOM, "")]),
}


def test_every_heuristic_has_a_table() -> None:
    assert [heuristic.name for heuristic in HEURISTICS] == list(CASES)


@pytest.mark.parametrize("heuristic", HEURISTICS, ids=lambda heuristic: heuristic.name)
def test_a_heuristic_rejects_its_kind_of_value_and_keeps_others(heuristic: Heuristic) -> None:
    rejected, kept = CASES[heuristic.name]
    assert rejected
    assert [case for case in rejected if not heuristic.rejects(*case)] == []
    assert [case for case in kept if heuristic.rejects(*case)] == []


@pytest.mark.parametrize(("low", "high"), list(pairwise(FileClass)))
def test_a_higher_class_applies_more_heuristics(low: FileClass, high: FileClass) -> None:
    assert set(applied_heuristics(low)) < set(applied_heuristics(high))


def test_the_heuristic_that_rejects_a_value_is_returned() -> None:
    found = rejecting_heuristic("$DB_PASSWORD", "password=$DB_PASSWORD", "/app/.env")
    assert found and (found.name, found.reason) == ("reference", "a variable, template or lookup")
    assert rejecting_heuristic("hunter2Gz9", "password=hunter2Gz9", "/app/.env") is None


def test_no_word_list_has_a_comment_among_its_words() -> None:
    for listed in (words(), placeholder_words(), identifier_words()):
        assert not any("#" in word for word in listed)
    assert len(words()) > 6000 and "senha" in placeholder_words() and "handler" in identifier_words()


@pytest.mark.parametrize(
    ("secret", "line", "path"),
    [
        ("hunter2Gz9qLp", "DB_PASSWORD=hunter2Gz9qLp", "/app/.env"),
        ("Sup3rS3cret!", "password: Sup3rS3cret!", "/app/config.yml"),
        ("correct-horse-battery-staple", "password=correct-horse-battery-staple", "/app/application.properties"),
        ("sunshine", "machine a login b password sunshine", "/root/.netrc"),
        ("r00tpw!", 'password = "r00tpw!"', "/srv/app/settings.py"),
        ("n0depw!", "const password = 'n0depw!';", "/srv/app/index.js"),
        ("hunter2", "PGPASSWORD=hunter2 psql", ""),
        (RANDOM, f'"apiKey": "{RANDOM}"', "/app/node_modules/ours/config.json"),
        (RANDOM, f"const TOKEN = '{RANDOM}'", "/usr/src/app/index.js"),
        (RANDOM, f"https://x.acme.io/?token={RANDOM}", "/var/lib/app/state"),
        ("8f14e45fceea167a5a36dedd4bea2543", "api_key = 8f14e45fceea167a5a36dedd4bea2543", "/etc/app.conf"),
        ("pr0grampw", "\x00\x03postgres://app:pr0grampw@db.acme.io/x\x00\x01", "/app/program"),
        ("pr0xypw", "http_proxy=http://bob:pr0xypw@proxy.acme.io:3128", "/etc/environment"),
    ],
)
def test_passwords_and_tokens_are_plausible(secret: str, line: str, path: str) -> None:
    found = rejecting_heuristic(secret, line, path)
    assert found is None or found.guessable


@pytest.mark.parametrize(
    ("secret", "line", "path", "confidence"),
    [
        ("sunshine", "machine a login b password sunshine", "/root/.netrc", Confidence.MEDIUM),
        ("admin123", "DB_PASSWORD=admin123", "/app/.env", Confidence.MEDIUM),
        ("admin123", "DB_PASSWORD=admin123", "/app/config.ini", Confidence.LOW),
        ("secret", "JWT_SECRET=secret", "/app/.env", Confidence.LOW),
    ],
)
def test_confidence_in_a_guessable_password_depends_on_file_and_name(
    secret: str, line: str, path: str, confidence: Confidence
) -> None:
    found = rejecting_heuristic(secret, line, path)
    assert found and found.guessable
    assert guessable_confidence(secret, line, path) is confidence


@pytest.mark.parametrize("path", ["/app/.env", "/app/config.yml", "/srv/app.py", "/usr/lib/x/y.py", ""])
@pytest.mark.parametrize(
    "secret",
    [
        "changeme",
        "your-api-key-here",
        "example-password",
        "xxxxxxxxxxxx",
        "********",
        "123456789",
        "password",
        "string",
        "null",
        "<password>",
        "${DB_PASSWORD}",
        "$DB_PASSWORD",
        "$(cat /run/secrets/pw)",
        "{{ vault_password }}",
        "%(password)s",
        "#{password}",
        "os.environ['PASSWORD']",
        "process.env.PASSWORD",
        "getenv('PASSWORD')",
        "2YotnFZFEjr1zCsicMWpAA",
    ],
)
def test_placeholders_and_references_are_rejected_in_every_file_class(secret: str, path: str) -> None:
    assert rejecting_heuristic(secret, f"password = {secret}", path)


@pytest.mark.parametrize(
    ("secret", "line", "path"),
    [
        ("self.password", "password = self.password", "/srv/app.py"),
        ("resetPasswordForm", "password: 'resetPasswordForm'", "/srv/app.js"),
        ("PASSWORD_RESET", "PASSWORD = 'PASSWORD_RESET'", "/srv/app.ts"),
        ("dependency", "passwd: dependency problems, but configuring anyway", "/var/log/bootstrap.log"),
        ("/run/secrets/db", "password=/run/secrets/db", "/app/config.ini"),
        ("https://acme.io/login", "password: https://acme.io/login", "/app/config.yml"),
        ("2024-01-31", "password_changed: 2024-01-31", "/app/config.yml"),
        ("1.2.3", "token: 1.2.3", "/app/config.yml"),
        (RANDOM, f'"nextToken": "{RANDOM}"', "/app/api.json"),
        (RANDOM, f"tokenType = '{RANDOM}'", "/app/api.ini"),
        ("hunter2Gz9qLp", "password: 'hunter2Gz9qLp'", "/usr/lib/node_modules/x/index.js"),
        (RANDOM, f"password: '{RANDOM}'", "/usr/lib/node_modules/x/test/index.js"),
        (RANDOM, f"password: '{RANDOM}'", "/root/.npm/_cacache/content-v2/a"),
        ("bcd2f1b8-9a78-44d3-8a7a-4dd07d7cf635", '"token": "bcd2f1b8-9a78-44d3-8a7a-4dd07d7cf635"', "/usr/share/x/a"),
        ("8f14e45fceea167a5a36dedd4bea2543", "secret checksum: 8f14e45fceea167a5a36dedd4bea2543", "/app/a.yml"),
        ("secret", "https://user:secret@example.com/", "/app/a.yml"),
        ("a-b_c9d8", "https://user:a-b_c9d8@example.com/", "/app/a.yml"),
        ("hunt\x01er2", "a\x00b password=hunt\x01er2", "/app/program"),
        ("Enter", "password: Enter your password here", "/app/de.yml"),
    ],
)
def test_code_words_and_files_of_packages_are_rejected(secret: str, line: str, path: str) -> None:
    assert rejecting_heuristic(secret, line, path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/app/.env.production", FileClass.CREDENTIALS),
        ("/root/.bash_history", FileClass.CREDENTIALS),
        ("/app/config.yml", FileClass.CONFIG),
        ("/var/www/wp-config.php", FileClass.CREDENTIALS),
        ("", FileClass.CONFIG),
        ("/usr/src/app/index.js", FileClass.CODE),
        ("/app/README.md", FileClass.THIRD_PARTY),
        ("/usr/lib/python3.11/getpass.py", FileClass.THIRD_PARTY),
        ("/usr/share/nginx/html/app.js", FileClass.CODE),
        ("/app/node_modules/x/README.md", FileClass.THIRD_PARTY_TESTS),
        ("/usr/share/doc/x/examples/a.conf", FileClass.THIRD_PARTY_TESTS),
        ("/usr/lib/python3/dist-packages/x-1.0.dist-info/METADATA", FileClass.THIRD_PARTY_TESTS),
        ("/wheels/x-1.0-py3-none-any.whl/x/config.yml", FileClass.CONFIG),
        ("/wheels/x-1.0-py3-none-any.whl/x/tests/a.yml", FileClass.CONFIG),
        ("/opt/shop-2.0.1/tests/a.conf", FileClass.CONFIG),
    ],
)
def test_the_class_of_a_file_follows_from_its_path(path: str, kind: FileClass) -> None:
    assert file_class(path) is kind


@pytest.mark.parametrize(
    ("path", "is_test"),
    [
        ("/wheels/x-1.0-py3-none-any.whl/x/config.yml", False),
        ("/wheels/x-1.0-py3-none-any.whl/x/tests/a.yml", True),
        ("/src/openssl-3.0.1/test/a.conf", True),
        ("/src/openssl-3.0.1/apps/a.conf", False),
        ("/src/x-1.2.tar.gz/x-1.2/tests/a.conf", True),
        ("/opt/shop-2.0.1/tests/.env", False),
        ("/opt/shop/tests/a.conf", False),
    ],
)
def test_tests_of_releases_are_known_by_their_path(path: str, is_test: bool) -> None:
    assert is_release_test(path) is is_test


def test_random_text_looks_random_and_names_do_not() -> None:
    assert looks_random(RANDOM)
    assert not looks_random("getElementsByTagName2")
    assert not looks_random("TR31_E0_EMV_MKEY_APP_CRYPTOGRAMS")
    assert looks_random("PsvOJgNgjXgkQtoyBWAQuEZs")
    assert not looks_random("getAccessTokenSilently")
    assert not looks_random("XMLHttpRequestUpload")
    assert reads_like_words("getElementsByTagName")
    assert not reads_like_words(RANDOM)


def test_entropy_is_in_bits_a_character() -> None:
    assert entropy("") == 0
    assert entropy("abcd") == 2


@pytest.mark.parametrize(
    ("path", "is_source"),
    [
        ("/usr/lib/python3/dist-packages/botocore/data/ec2/service-2.json.gz", True),
        ("/usr/lib/python3/dist-packages/app/settings.json", False),
        ("/srv/app/service-2.json.gz", False),
        ("/usr/lib/app/backup.sql.gz", False),
        ("/usr/lib/app/config.gz", False),
        ("/app/node_modules/a/b.js.gz", True),
        ("/root/.npm/_cacache/content-v2/sha512/0a/1b/2c3d", True),
        ("/root/.npm/_cacache/content-v2/sha512/0a/1b/2c3d/package/.env", False),  # a member of a package
        ("/root/.cache/pip/http-v2/a/b/c/d/e/abcde.body", True),
        ("/root/.cache/go-build/0f/0f1e-d", True),
        ("/var/cache/nginx/0/1b/2c3d", False),
    ],
)
def test_files_whose_words_nobody_configured_are_told_by_their_paths(path: str, is_source: bool) -> None:
    assert is_third_party_source(path) is is_source
