"""Tokens as their providers document them, in the contexts in which people keep them: `formats.txt`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from auditor.rulebook.examples import fill


@dataclass(frozen=True, slots=True)
class Format:
    """A token of a provider in a file."""

    provider: str
    path: str
    secret: str


def format_files(source: random.Random) -> tuple[dict[str, str], list[Format]]:
    """Return files, each with one token, and what they hold."""
    files: dict[str, str] = {}
    made = []
    rows = Path(__file__).with_name("formats.txt").read_text().splitlines()
    for number, row in enumerate(row for row in rows if not row.startswith("#")):
        provider, name, template = row.split("\t")
        secret = fill(template, source.getrandbits(40))
        for file, text in _contexts(provider, name, secret).items():
            path = f"formats/{number}-{name.lower()}/{file}"
            files[path] = text
            made.append(Format(provider, path, secret))
    return files, made


def _contexts(provider: str, name: str, secret: str) -> dict[str, str]:
    """Return texts that give a token to a name, by the file that they stand in."""
    lower, (service, _, rest) = name.lower(), name.lower().partition("_")
    camel = "".join(part.capitalize() if at else part for at, part in enumerate(lower.split("_")))
    texts = {
        ".env": f"MODE=production\n{name}={secret}\n",
        "app.json": f'{{\n  "mode": "production",\n  "{camel}": "{secret}"\n}}\n',
        "app.yaml": f"mode: production\n{lower}: {secret}\n",
        ".bash_history": f"cd /srv\nexport {name}='{secret}'\nmake\n",
        "client.js": f'const mode = "production";\nconst {camel} = "{secret}";\n',
        "settings.py": f'MODE = "production"\n{name} = "{secret}"\n',
    }
    if provider.startswith(service):
        texts["nested.yaml"] = f"mode: production\n{service}:\n  {rest}: {secret}\n"
    if quote(secret, safe=":") == secret:
        texts["access.log"] = f"GET https://api.acme-corp.io/v1/items?{lower}={secret}&limit=10 200\n"
    return texts
