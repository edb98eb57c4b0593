"""A planted image with a file of each kind, its audit, and the contents of its files."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from auditor.core.options import AuditOptions
from auditor.explore.file_contents import FileContents
from auditor.pipeline import Audit, Request, audit
from auditor.scan import Scanner
from tests.conftest import require
from tests.images import file, hardlink, image, layer, step, symlink, token, whiteout

TOKENS = [token(number) for number in range(400, 405)]


@dataclass(frozen=True)
class Explored:
    """An audited archive. `versions` maps a path to its lowest file version."""

    target: str
    audit: Audit
    contents: FileContents


@pytest.fixture(scope="package")
def explored(tmp_path_factory: pytest.TempPathFactory, scanner: Scanner, cache: Path) -> Iterator[Explored]:
    require(find_spec("textual") is not None, "Textual")
    built = image(
        layer(
            {
                "root/.netrc": f"machine example.com login me\npassword {TOKENS[0]}\n",
                "app/.env": f"A=1\nTOKEN={TOKENS[1]}\nB=2\n",
                "app/long.log": "".join(f"line {number}\n" for number in range(20_000)) + f"T={TOKENS[1]}\n",
                "app/edge.log": "." * 65_510 + f" TOKEN={TOKENS[2]} {'x' * 40_000}\n",
                "app/secret.b64": base64.b64encode(f"TOKEN={TOKENS[3]}\n".encode() * 3),
                "app/secret.gz": gzip.compress(f"TOKEN={TOKENS[3]}\n".encode(), mtime=0),
                "usr/bin/tool": b"\x7fELF\0\0" * 100,
                "usr/share/[red]markup": "plain\x1b[31m text\n",
            },
            symlink("app/current", f"/srv/{TOKENS[4]}"),
            hardlink("app/linked", "app/.env"),
        ),
        layer(file("app/.env", f"TOKEN={TOKENS[4]}\n", mode=0o600), whiteout("root/.netrc")),
        history=[step("COPY . /app"), step("RUN rm /root/.netrc")],
        names=("planted:explore",),
    )
    archive = built.docker_archive(tmp_path_factory.mktemp("explore") / "image.tar")
    (found,) = audit(str(archive), scanner, Request())
    yield Explored(str(archive), found, FileContents(str(archive), found, AuditOptions(cache_dir=cache)))
