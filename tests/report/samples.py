"""Images whose reports the tests look at: without findings, with one, nested ones, hostile ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

from tests.images import Built, file, image, layer, step, token
from tests.report.test_report import NASTY, planted

HOSTILE = NASTY.replace("/", "-") + "|`` @root #1 [x](http:--evil) {0}"


def nothing() -> tuple[Built, list[str]]:
    return image(layer({"a": "nothing here\n"})), []


def one() -> tuple[Built, list[str]]:
    secret = token(300)
    return image(layer({"a b/ü:#?.env": f"\n{secret}\n"})), [secret]


def zipped(files: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def nested() -> tuple[Built, list[str]]:
    secrets = [token(301), token(302)]
    inner = zipped({"b|c/.env": secrets[0]})
    return image(layer(file("app.zip", zipped({"in ner.zip": inner, "x": secrets[1]})))), secrets


def hostile() -> tuple[Built, list[str]]:
    secrets = [token(303), token(304), token(305)]
    built = image(
        layer({HOSTILE: secrets[0], "caf\udce9": secrets[2]}),
        history=[step("RUN " + NASTY + " ]]> <!-- @all -->")],
        config={"Labels": {"@everyone <b>x</b> www.evil.example http://evil.example `": secrets[1]}},
    )
    return built, secrets


IMAGES: dict[str, Callable[[], tuple[Built, list[str]]]] = {
    "nothing": nothing, "one": one, "planted": planted, "nested": nested, "hostile": hostile,
}  # fmt: skip
