"""An image with a token of its own in every place of it that holds text."""

from __future__ import annotations

import io
import json
import tarfile
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from tests.extract.test_archives import zipped
from tests.images import (
    OCI,
    Built,
    descriptor,
    digest,
    file,
    folder,
    hardlink,
    image,
    layer,
    layout_files,
    step,
    symlink,
    token,
    whiteout,
    write_files,
)  # fmt: skip

_SEEDS = count(9000)


class Canaries:
    """Makes a token for each place that is asked for, and knows them all."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}

    def __getitem__(self, place: str) -> str:
        return self.tokens.setdefault(place, token(next(_SEEDS)))


C = Canaries()
DIGESTS = "sha256:" + "0" * 64


def config() -> dict[str, Any]:
    return {
        "User": f"u-{C['user']}",
        "WorkingDir": f"/w/{C['working dir']}",
        "Entrypoint": ["run", f"--key={C['entrypoint']}"],
        "Cmd": [C["command"]],
        "Env": [f"TOKEN={C['environment']}", f"{C['name of a variable']}=1"],
        "Labels": {
            "token": C["label"],
            C["key of a label"]: "x",
            f"org.{C['key of a label with a secret']}": C["both"],
        },
        "ExposedPorts": {f"80/{C['port']}": {}},
        "Volumes": {f"/v/{C['volume']}": {}},
        "StopSignal": C["stop signal"],
        "Healthcheck": {"Test": ["CMD", f"curl {C['health check']}"]},
        "OnBuild": [f"RUN {C['trigger']}"],
        "Shell": ["/bin/sh", C["shell"]],
        C["unknown key of the config"]: "x",
    }


def owned(path: str) -> bytes:
    """A file whose owner and group have names, as a tar of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"g": C["global header"]}) as tar:
        info = tarfile.TarInfo(path)
        info.uname, info.gname = C["owner"][:32], C["group"]
        info.pax_headers = {"uname": C["owner"]}
        tar.addfile(info)
    return out.getvalue()


def lower() -> bytes:
    return layer(
        file(f"a/{C['file name']}.txt", "x" * 100),
        folder(f"b/{C['folder name']}"),
        file(f"b/{C['folder name']}/c/d", "y"),
        file(f"gone/{C['deleted file name']}", "z" * 5000),
        symlink("link", f"/x/{C['link target']}"),
        symlink(f"l/{C['link name']}", "/etc"),
        file("body", "x"),
        hardlink(f"h/{C['hard link name']}", "body"),
        symlink("gone/link", C["deleted link target"]),
        file("x1", "x", pax={f"SCHILY.xattr.user.{C['attribute name']}": "1"}),
        file("x2", "x", pax={"SCHILY.xattr.user.v": C["attribute value"]}),
        file("x3", "x", pax={"comment": C["pax record"], C["key of a pax record"]: "1"}),
        file(f"both/{C['name of a file with a secret']}", f"TOKEN={C['content']}\n"),
        file(f"gone/{C['name of a deleted file with a secret']}", f"TOKEN={C['deleted content']}\n"),
        file("n.zip", zipped({f"in/{C['member name']}.env": f"TOKEN={C['content of a member']}\n".encode()})),
    )


def upper() -> bytes:
    return layer(
        whiteout("gone"), whiteout(f"other/{C['whiteout']}"), folder("e"), file(f"e/{C['upper file name']}", "x")
    )


@cache
def planted() -> Built:
    built = image(
        lower(),
        upper(),
        owned("owned"),
        history=[
            step(f"RUN {C['step']}", comment=C["comment"]),
            {**step("RUN rm -r gone"), "author": C["author of a step"], C["key of a step"]: "x"},
            {**step("COPY x /"), "created": f"on {C['time of a step']}"},
        ],
        config=config(),
        annotations={"token": C["annotation"], C["key of an annotation"]: "x"},
        names=(f"planted:{C['tag']}",),
    )
    built.config["author"] = C["author"]
    built.config["comment"] = C["comment of the image"]
    built.config["variant"] = C["variant"]
    built.config["rootfs"][C["key of rootfs"]] = "x"
    return built


def layout(folder_: Path) -> Path:
    """The image as an OCI layout with an index of an image and an attestation, both with annotations."""
    blobs, root = planted().blobs("gzip")
    statement = {"predicate": {"builder": {C["key in an attestation"]: {"id": C["attestation"]}}, "materials": []}}
    body = json.dumps(statement).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": descriptor(b"{}", OCI + "config.v1+json"),
            "layers": [descriptor(body, "application/vnd.in-toto+json")],
        }
    ).encode()  # fmt: skip
    attested = descriptor(
        manifest, OCI + "manifest.v1+json", platform={"os": "unknown", "architecture": "unknown"},
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": root["digest"],
        },
    )  # fmt: skip
    root = {
        **root, "platform": {"os": "linux", "architecture": "amd64"},
        "annotations": {"token": C["annotation of a descriptor"], C["key of a descriptor's annotation"]: "x"},
    }  # fmt: skip
    index = {
        "schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [root, attested],
        "annotations": {"token": C["annotation of an index"], C["key of an index's annotation"]: "x"},
    }  # fmt: skip
    data = json.dumps(index).encode()
    blobs |= {digest(body): body, digest(manifest): manifest, digest(b"{}"): b"{}", digest(data): data}
    top = descriptor(
        data, OCI + "index.v1+json", annotations={"org.opencontainers.image.ref.name": C["reference name"]}
    )
    return write_files(folder_, layout_files(blobs, [top]))


def written(folder_: Path) -> dict[str, str]:
    """Targets of the image in each form."""
    return {"archive": str(planted().docker_archive(folder_ / "a.tar")), "layout": f"oci:{layout(folder_ / 'layout')}"}
