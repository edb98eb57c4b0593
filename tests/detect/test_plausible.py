"""What counts as a secret where only the context says so."""

from __future__ import annotations

import pytest

from auditor.detect.heuristics.file_class import FileClass, file_class
from auditor.detect.heuristics.plausibility import entropy, implausible, looks_random
from auditor.detect.heuristics.words import reads_like_words

RANDOM = "kX9fLq2mZr8vTn4cWb7y"


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
def test_a_value_that_a_person_or_a_machine_chose_is_plausible(secret: str, line: str, path: str) -> None:
    assert implausible(secret, line, path) is None


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
def test_a_placeholder_or_a_reference_is_no_secret_anywhere(secret: str, path: str) -> None:
    assert implausible(secret, f"password = {secret}", path)


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
def test_code_words_and_what_others_wrote_are_no_secrets(secret: str, line: str, path: str) -> None:
    assert implausible(secret, line, path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/app/.env.production", FileClass.CREDENTIALS),
        ("/root/.bash_history", FileClass.CREDENTIALS),
        ("/app/config.yml", FileClass.CONFIG),
        ("/var/www/wp-config.php", FileClass.CONFIG),
        ("", FileClass.CONFIG),
        ("/usr/src/app/index.js", FileClass.CODE),
        ("/app/README.md", FileClass.THIRD_PARTY),
        ("/usr/lib/python3.11/getpass.py", FileClass.THIRD_PARTY),
        ("/usr/share/nginx/html/app.js", FileClass.CODE),
        ("/app/node_modules/x/README.md", FileClass.THIRD_PARTY_TESTS),
        ("/usr/share/doc/x/examples/a.conf", FileClass.THIRD_PARTY_TESTS),
    ],
)
def test_the_path_says_whose_file_it_is(path: str, kind: FileClass) -> None:
    assert file_class(path) is kind


def test_random_text_looks_random_and_names_do_not() -> None:
    assert looks_random(RANDOM)
    assert not looks_random("getElementsByTagName2")
    assert not looks_random("TR31_E0_EMV_MKEY_APP_CRYPTOGRAMS")
    assert reads_like_words("getElementsByTagName")
    assert not reads_like_words(RANDOM)


def test_entropy_is_in_bits_a_character() -> None:
    assert entropy("") == 0
    assert entropy("abcd") == 2
