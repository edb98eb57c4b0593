"""Images with many secrets, and the pages of their reports."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from auditor.pipeline import Audit, Request, audit
from auditor.report import html
from auditor.report.render_options import RenderOptions
from auditor.scan import Scanner
from tests.images import Built, Item, file, image, layer, step, token, whiteout

CREATED = "2026-11-24T05:00:00Z"
HOSTILE = "a\x1b[31m\u202egnp.\u2028<script>alert(1)</script>{{7*7}}\n'\"& שלום"
TEMPLATES = (
    "ghp_{base62:30}{crc32}",
    "tvly-{base62:32}",
    "glpat-{base64url:20}",
    "xoxb-{digits:12}-{digits:13}-{base62:24}",
)


def audited(folder: Path, scanner: Scanner, *images: Built) -> list[Audit]:
    found = []
    for number, built in enumerate(images):
        archive = built.docker_archive(folder / f"image{number}.tar")
        found += audit(str(archive), scanner, Request())
    return found


def page(folder: Path, scanner: Scanner, *images: Built) -> Path:
    """Write the report of images as a page."""
    path = folder / "report.html"
    path.write_text(html.render(audited(folder, scanner, *images), RenderOptions(CREATED)), encoding="utf-8")
    return path


def story(seed: int = 100) -> Built:
    """Ten findings: each state, several layers, the metadata, one secret at three places."""
    secrets = [token(seed + number) for number in range(7)]
    build = f"RUN |1 TOKEN={secrets[5]} /bin/sh -c make install && rm -rf /var/lib/apt/lists/* # buildkit"
    return image(
        layer({"etc/os-release": "ID=planted\n", "usr/lib/libc.so": b"\x01" * 90_000}),
        layer({"root/.netrc": f"machine example.com password {secrets[0]}\n", "app/.env": f"TOKEN={secrets[1]}\n"}),
        layer({"app/main.py": "print()\n" * 4000, "app/config.yml": f"a: 1\ntoken: {secrets[2]}\n"}),
        layer(file("app/.env", f"TOKEN={secrets[3]}\n"), whiteout("root/.netrc")),
        layer({"var/cache/build.log": f"x\ny\npushed with {secrets[4]}\n", "tmp/big.bin": b"\x02" * 60_000}),
        layer(whiteout("tmp"), {"app/key.txt": secrets[6]}),
        history=[
            step("/bin/sh -c #(nop) ADD file:5d1ac in / "),
            step("COPY .netrc /root/.netrc # buildkit", comment="buildkit.dockerfile.v0"),
            step(f"ENV TOKEN={secrets[5]}", empty=True),
            step("COPY . /app # buildkit", comment="buildkit.dockerfile.v0"),
            step("RUN /bin/sh -c ./rotate.sh && rm /root/.netrc # buildkit", comment="buildkit.dockerfile.v0"),
            step(build, comment="buildkit.dockerfile.v0"),
            step("RUN /bin/sh -c rm -rf /tmp # buildkit", comment="buildkit.dockerfile.v0"),
        ],
        config={
            "Env": ["PATH=/bin", f"TOKEN={secrets[5]}"],
            "Labels": {"ci.token": secrets[5]},
            "Cmd": ["python", "main.py"],
        },
        names=("registry.example.com/shop/checkout:1.4",),
    )


def many(count: int, layers: int = 12) -> Built:
    """`count` findings of several providers: added in any layer, some deleted or overwritten in a later one."""
    dice = random.Random(count)
    stack: list[list[Item]] = [[] for _ in range(layers)]
    stack[0].append(file("usr/lib/base.bin", b"\x01" * 200_000))
    missing, number = count, 0
    while missing:
        number += 1
        path = f"srv/team-{number % 17}/service-{number % 230}/config-{number}.env"
        added, later = dice.randrange(layers), dice.randrange(layers)
        stack[added].append(file(path, f"TOKEN={token(number, TEMPLATES[number % len(TEMPLATES)])}\n"))
        missing -= 1
        if later > added:
            rotate = missing and dice.random() < 0.3
            stack[later].append(file(path, f"TOKEN={token(number + count)}\n") if rotate else whiteout(path))
            missing -= bool(rotate)
    return image(*(layer(*items) for items in stack), names=("registry.example.com/shop/monolith:2026.11",))


def clean() -> Built:
    return image(layer({"etc/os-release": "ID=planted\n"}), layer({"app/main.py": "print()\n"}), names=("clean:1",))


def hostile(names: Sequence[str] = (HOSTILE,)) -> Built:
    """Names that try to be markup, templates, or to turn the text around; a path of 3,000 characters."""
    long = "/".join(["x" * 200] * 15)
    odd = [name.replace("/", "-") for name in names]
    return image(
        layer({name: token(number) for number, name in enumerate([*odd, long])}),
        layer(*(whiteout(name) for name in odd)),
        history=[step("RUN " + names[0]), step("RUN " + "very long " * 2000)],
        config={"Labels": {names[0]: token(9)}},
    )
