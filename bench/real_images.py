"""Build the images of `make bench`: `python -m bench.real_images` prints the archives, and makes the missing ones.

Each is a Dockerfile of `bench/images/` on a base that debootstrap makes, with packages of Debian, PyPI and npm, and a
few secrets made at that time. It needs a Docker engine, debootstrap and the network. Archives are kept in
`$TMPDIR/image-audit-bench`, as building them takes minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.images import token

FOLDER = Path(tempfile.gettempdir()) / "image-audit-bench"
DOCKERFILES = Path(__file__).parent / "images"
NAMES = tuple(sorted(path.name.removesuffix(".Dockerfile") for path in DOCKERFILES.glob("*.Dockerfile")))
_PREFIX = "image-audit-bench"
_SUITE = "trixie"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_MIRROR = re.compile(r"https?://\S+/debian/?(?=\s|$)", re.MULTILINE)


def archive(name: str) -> Path:
    """Return the path of an image's archive, which may not exist yet."""
    return FOLDER / f"{name}.tar"


def build(name: str) -> Path:
    """Return the archive of an image, built if it does not exist. Raises CalledProcessError."""
    output = archive(name)
    if not output.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        _import_base()
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            context = Path(folder)
            shutil.copy(DOCKERFILES / f"{name}.Dockerfile", context / "Dockerfile")
            shutil.copy(_AUTHORITIES, context)  # of this machine, whose network may need its own
            _write_secrets(context / "secrets")
            _run("docker", "build", "-q", "--network=host", "-t", f"{_PREFIX}/{name}", folder)
            _run("docker", "save", f"{_PREFIX}/{name}", "-o", f"{folder}/image.tar")
            (context / "image.tar").rename(output)
    return output


def _import_base() -> None:
    """Make Debian with debootstrap, from the mirror that apt uses here, as the image `image-audit-bench/debian`."""
    base = f"{_PREFIX}/debian"
    if not subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False).returncode:
        return
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        _run("debootstrap", "--variant=minbase", _SUITE, folder, *_mirror())
        tar = subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(["docker", "import", "-", base], stdin=tar.stdout, check=True, stdout=subprocess.DEVNULL)
        if tar.wait():
            raise subprocess.CalledProcessError(tar.returncode, tar.args)


def _mirror() -> list[str]:
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return _MIRROR.findall("\n".join(path.read_text() for path in sources if path.is_file()))[:1]


def _write_secrets(folder: Path) -> None:
    folder.mkdir()
    database = token(3, "{base62:20}")
    (folder / ".env").write_text(
        f"GITHUB_TOKEN={token(1)}\nDATABASE_URL=postgres://app:{database}@db.internal:5432/app\n"
    )
    (folder / "application.properties").write_text(f"spring.datasource.password={token(4, '{base62:20}')}\n")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    for each in NAMES:
        print(build(each))
