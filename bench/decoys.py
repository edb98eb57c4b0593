"""What looks like a secret and is none: nothing of it may be reported at the default confidence."""

from __future__ import annotations

import datetime
import random

from auditor.rulebook.examples import fill

_LINES = {
    "srv/decoys/placeholders.env": (
        "DB_PASSWORD=changeme", "API_KEY=your-api-key-here", "SECRET=<secret>", "TOKEN=${TOKEN}", "PASSWORD=********",
        "API_SECRET={{ api_secret }}", "AUTH_TOKEN=xxxxxxxxxxxxxxxxxxxxxxxx", "JWT_SECRET=",
        "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "SMTP_PASSWORD=REPLACE_ME", "PGPASSWORD=$PG_PASSWORD",
    ),
    "srv/decoys/documented.conf": (
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "url = https://user:password@example.com/", "dsn = postgres://user:pass@localhost/db",
        "token = 2YotnFZFEjr1zCsicMWpAA", "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    ),
    "srv/decoys/broken.conf": (
        "github = ghp_{base62:36}", "npm = npm_{base62:36}", "short = ghp_{base62:30}", "glsa_{base62:32}_{hex:8}",
    ),
    "srv/decoys/ids.json": (
        '"id": "{uuid}",', '"request_id": "{uuid}",', '"commit": "{hex:40}",', '"etag": "{hex:32}",',
        '"nextToken": "{base62:40}",', '"trace": "{hex:32}",', '"image": "registry.intern/app@sha256:{hex:64}",',
    ),
    "srv/decoys/package-lock.json": (
        '"integrity": "sha512-{base64:86}==",', '"resolved": "https://npm.example.com/a/-/a-1.0.0.tgz#{hex:40}",',
    ),
    "srv/decoys/Cargo.lock": ('name = "secret-token"', 'checksum = "{hex:64}"'),
    "srv/decoys/poetry.lock": ('{file = "tokenlib-1.0.tar.gz", hash = "sha256:{hex:64}"},',),
    "srv/decoys/go.sum": (
        "github.com/acme/secret v1.0.0 h1:{base64:43}=", "github.com/a/b v1.0.0/go.mod h1:{base64:43}=",
    ),
    "srv/decoys/reads.py": (
        'password = os.environ["DB_PASSWORD"]', "token = getpass.getpass('Token: ')",
        'secret = config.get("secret_key")',
        'api_key = os.getenv("API_KEY", default=None)', "def login(password: str, token: str) -> None:",
        "self.password = password", 'parser.add_argument("--api-token", help="the token")',
        "assert token == expected_token",
    ),
    "srv/decoys/reads.js": (
        "const apiKey = process.env.API_KEY;", "const { password } = req.body;", "token: getToken(user),",
        'if (password === "") throw new Error("password missing");', "setPassword(e.target.value)",
    ),
    "srv/decoys/reads.sh": ('mysql -u root -p"$DB_PASSWORD" app', "curl -u $USER:$PW https://x.intern", "read -s PW"),
    "srv/decoys/locales/de.json": ('"password": "Passwort",', '"forgot_password": "Passwort vergessen?",'),
    "srv/decoys/README.md": ("Set `API_TOKEN=abcdef1234567890` and run it.", "The password is `hunter2` in examples."),
    "srv/decoys/.git/packed-refs": ("{hex:40} refs/heads/main", "{hex:40} refs/tags/v1.0.0"),
    "srv/decoys/known_hosts": ("git.intern ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{base64:43}",),
    "srv/decoys/style.css": (".token.secret { color: #ff00aa; }", "a[href*='password'] { content: 'key' }"),
}  # fmt: skip


def decoys(source: random.Random) -> dict[str, str]:
    """Return files, with fresh values."""
    made = {
        path: "\n".join(fill(line, source.getrandbits(40)) for line in lines) + "\n" for path, lines in _LINES.items()
    }
    certificate, public = _certificate()
    return {**made, "srv/decoys/server.crt": certificate, "srv/decoys/server.pub": public}


def _certificate() -> tuple[str, str]:
    """Return a self-signed certificate and its public key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.intern")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number()).not_valid_before(start)
    certificate = builder.not_valid_after(start + datetime.timedelta(days=90)).sign(key, SHA256())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_bytes(Encoding.PEM).decode(), public.decode()
