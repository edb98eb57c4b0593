"""A real builder makes the same files of a Dockerfile and of its fixed form, and no secret is left in a layer."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import docker, require
from tests.dockerfile.conftest import write
from tests.dockerfile.fix.conftest import Fixer
from tests.images import token

SECRET = token(9)
# Builders of a machine may be older than secrets in variables, so the file of the secret is read.
SYNTAX = "# syntax=docker/dockerfile:1.7\n"
# A program that needs the token of its configuration, as npm does, and a build that needs the sources.
NPM = "#!/bin/sh\ngrep -q ghp_ .npmrc && echo $1 && mkdir -p node_modules && cp package.json node_modules/\n"
DOCKERFILE = f"""\
{SYNTAX}FROM scratch
ADD base.tar /
COPY tools/ /bin/
WORKDIR /app
ARG API_TOKEN
COPY package.json .npmrc ./
RUN npm ci && rm .npmrc
COPY big.tar /tmp/
RUN tar xf /tmp/big.tar -C /app && rm /tmp/big.tar
RUN publish "$API_TOKEN" && publish {SECRET}
RUN touch /scratch
RUN rm /scratch
COPY . /app/
RUN pip install -r requirements.txt
CMD ["/bin/sh"]
"""
FILES = {
    ".npmrc": f"//registry.example.com/:_authToken={SECRET}\n",
    ".env": f"GITHUB_TOKEN={SECRET}\n",
    ".git/HEAD": "ref: refs/heads/main\n",
    ".dockerignore": "Dockerfile\n.dockerignore\n",
    "package.json": "{}\n",
    "requirements.txt": "flask==3\n",
    "main.py": "print(1)\n",
    "tools/npm": NPM,
    "tools/publish": '#!/bin/sh\ncase "$1" in ghp_*) echo published >> /log ;; *) exit 1 ;; esac\n',
    "tools/pip": "#!/bin/sh\ncp requirements.txt /installed\n",
}


def base_image(folder: Path) -> None:
    """Write a tar of a static busybox, and one with a file to unpack."""
    program = shutil.which("busybox")
    require(program is not None, "busybox-static")
    with tarfile.open(folder / "base.tar", "w") as tar:
        tar.add(str(program), "bin/busybox")
        for name in ("sh", "cat", "chmod", "cp", "echo", "grep", "mkdir", "rm", "tar", "touch"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        sticky = tarfile.TarInfo("tmp")
        sticky.type, sticky.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(sticky)
    with tarfile.open(folder / "big.tar", "w") as tar:
        tar.add(folder / "main.py", "unpacked.py")


def tree(engine: str, folder: Path, dockerfile: str, *options: str) -> Mapping[str, tuple[int, int, str]]:
    """Build an image; return mode, owner and content of each path."""
    (folder / "Dockerfile").write_text(dockerfile.removeprefix(SYNTAX))  # a builder would pull that one
    identifier = docker("-H", engine, "build", "-q", "--network=none", *options, str(folder))
    container = docker("-H", engine, "create", "--network=none", identifier)
    try:
        exported = subprocess.run(["docker", "-H", engine, "export", container], capture_output=True, check=True)
    finally:
        docker("-H", engine, "rm", container)
        docker("-H", engine, "rmi", "-f", identifier)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(exported.stdout)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            digest = hashlib.sha256(content.read()).hexdigest() if content else member.linkname
            found[member.name.rstrip("/")] = (member.mode, member.uid, digest)
    return found


@pytest.fixture
def written(fix: Fixer) -> Fixer:
    write(fix.folder, FILES)
    for tool in (fix.folder / "tools").iterdir():
        tool.chmod(0o755)
    base_image(fix.folder)
    return fix


def test_the_fixed_file_builds_the_same_tree_without_the_secret_files(engine: str, written: Fixer) -> None:
    folder = written.folder
    result = written(DOCKERFILE)
    assert {problem.rule for problem, _ in result.unfixed} == set(), result.unfixed
    fixed = result.source.text
    ignored = (folder / ".dockerignore").read_text()
    (folder / ".dockerignore").write_text(FILES[".dockerignore"])
    before = tree(engine, folder, DOCKERFILE, f"--build-arg=API_TOKEN={SECRET}")
    (folder / ".dockerignore").write_text(ignored)
    secrets = folder / "token"
    secrets.write_text(SECRET)
    after = tree(
        engine, folder, fixed, f"--secret=id=npmrc,src={folder}/.npmrc", f"--secret=id=api-token,src={secrets}",
        f"--secret=id=github-token,src={secrets}",
    )  # fmt: skip
    secret_files = {"app/.npmrc", "app/.env", "app/.git", "app/.git/HEAD"}
    assert secret_files <= set(before)
    assert {path: entry for path, entry in before.items() if path not in secret_files} == {
        path: entry for path, entry in after.items() if path != "app/token"
    }
