"""A Debian archive in memory, signed by a key made for the run, and the files that apt and dpkg leave in an image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pysequoia import SignatureMode, Tsk, sign

from tests.extract.build import ar
from tests.images import gzipped, layer

LISTS = "var/lib/apt/lists/deb.example.com_debian_dists_stable_"
CACHE = "var/cache/apt/archives/"


def package(files: Mapping[str, bytes]) -> bytes:
    """A package that installs files, with their MD5."""
    sums = "".join(f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {path}\n" for path, data in files.items())
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": gzipped(layer({"./control": "Package: planted\n", "./md5sums": sums})),
            "data.tar.gz": gzipped(layer({f"./{path}": data for path, data in files.items()})),
        }
    )


@dataclass(frozen=True)
class Archive:
    """An archive of packages by name."""

    packages: Mapping[str, bytes]
    key: Tsk = field(default_factory=lambda: Tsk.generate(user_ids=["Archive Signing Key"]))

    @property
    def certificate(self) -> str:
        return str(self.key.extract_certificate())

    @cached_property
    def package_list(self) -> bytes:
        return b"\n".join(
            f"Package: {name}\nVersion: 1\nFilename: pool/{name}.deb\nSize: {len(data)}\n"
            f"MD5sum: {hashlib.md5(data, usedforsecurity=False).hexdigest()}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\nDescription: none\n".encode()
            for name, data in self.packages.items()
        )

    @cached_property
    def release(self) -> bytes:
        digest = hashlib.sha256(self.package_list).hexdigest()
        text = (
            f"Origin: Example\nSuite: stable\nSHA256:\n {'0' * 64} 12 main/binary-amd64/Packages.xz\n"
            f" {digest} {len(self.package_list)} main/binary-amd64/Packages\nAcquire-By-Hash: yes\n"
        )
        return bytes(sign(self.key.signer(), text.encode(), mode=SignatureMode.CLEAR))

    @property
    def lists(self) -> dict[str, bytes]:
        """Files of apt's lists."""
        return {f"{LISTS}InRelease": self.release, f"{LISTS}main_binary-amd64_Packages": self.package_list}

    @property
    def cached(self) -> dict[str, bytes]:
        """Packages that apt keeps after it has installed them."""
        return {f"{CACHE}{name}_1_all.deb": data for name, data in self.packages.items()}
