"""Where canaries are planted: an image, a Dockerfile with its context, a config, a login; and commands run there."""

from __future__ import annotations

import base64
import io
import json
import shlex
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.attest import key_files
from tests.conftest import Cli
from tests.extract.test_archives import seven_zipped
from tests.images import Built, file, image, layer, step, token, whiteout
from tests.nursery import Done, Nursery
from tests.security.canaries import USER, leaks, open_to_others, written

HEART = token(501)[4:20]
PASSWORD = f'c0rrect/horse "{HEART}" +&%é'
PLACES = (
    "file", "deleted file", "zip", "7z", "package.json", "environment", "step", "comment", "label", "author",
    "Dockerfile", "context",
)  # fmt: skip
IN = {place: token(510 + number) for number, place in enumerate(PLACES)}
CANARIES = {"password": PASSWORD, "heart of the password": HEART, **IN}
Meanwhile = Callable[[int], None]
LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

OWN_RULE = """- id: own
  name: Own token
  provider: own
  severity: high
  confidence: high
  pattern: '\\bown_[0-9a-z]{20}\\b'
  keywords: [own_]
  examples: ['own_{base36:20}']
  counterexamples: ['own_short']
"""


@cache
def planted() -> Built:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner.env", f"TOKEN={IN['zip']}\n")
    package = {"name": "x", "version": "1.0", "repository": f"https://u:{IN['package.json']}@git.example.com/x"}
    built = image(
        layer(
            {
                "clean.txt": "nothing\n",
                "app/a.txt": f"key {IN['file']}\n",
                "gone.txt": f"{IN['deleted file']}\n",
                "a.zip": packed.getvalue(),
                "b.7z": seven_zipped({"inner.env": f"TOKEN={IN['7z']}\n".encode()}),
                "app/node_modules/x/package.json": json.dumps(package),
            }
        ),
        layer(whiteout("gone.txt"), file("clean.txt", "something\n")),
        history=[step(f"RUN login {IN['step']}", comment=f"for {IN['comment']}"), step("RUN rm gone.txt")],
        config={"Env": [f"TOKEN={IN['environment']}", "A=b"], "Labels": {"token": IN["label"], "l": "x"}},
    )
    built.config["author"] = f"somebody {IN['author']}"
    return built


@dataclass(frozen=True)
class Place:
    """Where commands run: a repository with an image, a Dockerfile, a config and a login to a registry.

    `inputs` are the files that hold canaries because they were put there, or asked for.
    """

    cli: Cli
    temporary: Path
    inputs: frozenset[Path]
    nursery: Nursery

    def run(self, line: str, before: str = "", stdin: bytes = b"", meanwhile: Meanwhile = lambda _: None) -> Done:
        """Run a command; `before` is Python that runs before it in its process."""
        return self.nursery.run(shlex.split(line), self.cli.environment, self.cli.folder, stdin, before, meanwhile)

    def check(self, *done: Done) -> None:
        """No canary stands anywhere, nothing is left in the temporary folder, nobody else may read what is kept."""
        top = self.cli.folder.parent
        texts = list(written(top, self.inputs))
        for one in done:
            texts += [("standard output", one.out), ("standard error", one.err), ("a process", one.begun)]
        assert leaks(iter(texts), CANARIES) == [], done
        assert not list(self.temporary.iterdir()), "something was left in the temporary folder"
        assert open_to_others(top) == []

    def leaks(self, where: str, text: str) -> list[str]:
        """Say which canaries stand in a text that was got elsewhere."""
        return leaks(iter([(where, text.encode())]), CANARIES)

    def log_in(self, *addresses: str, password: str = PASSWORD) -> None:
        """Have `docker login` done at registries."""
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path = Path(self.cli.environment["DOCKER_CONFIG"]) / "config.json"
        path.write_text(json.dumps({"auths": {address: {"auth": auth} for address in addresses}}))


def made(cli: Cli, tmp_path: Path, nursery: Nursery) -> Place:
    """Plant all canaries."""
    temporary, docker = tmp_path / "temporary", Path(cli.environment["DOCKER_CONFIG"])
    temporary.mkdir()
    docker.mkdir()
    for folder in Path(cli.environment["XDG_CACHE_HOME"]).iterdir():
        folder.chmod(0o700)  # as the program makes it
    cli.environment |= {"TMPDIR": str(temporary), "XDG_DATA_HOME": str(tmp_path / "home/data"), "HOME": str(tmp_path)}
    inputs = {
        docker / "config.json": json.dumps({"auths": {"127.0.0.1:1": {"auth": LOGIN}}}),
        cli.folder / "Dockerfile": f"FROM scratch\nARG T={IN['Dockerfile']}\nENV U={IN['Dockerfile']}\nCOPY . /\n"
        f"RUN curl -H 'Authorization: Bearer {IN['Dockerfile']}' https://{USER}:{IN['Dockerfile']}@example.com\n",
        cli.folder / ".env": f"TOKEN={IN['context']}\n",
        cli.folder / ".npmrc": f"//npm.example.com/:_authToken={IN['context']}\n",
        cli.folder / ".image-audit.yaml": "images: [a.tar]\ndockerfiles: [Dockerfile]\n",
        cli.folder / "own.yaml": OWN_RULE,
    }
    for path, text in inputs.items():
        path.write_text(text)
    archive = planted().docker_archive(cli.folder / "a.tar")
    saved = archive.read_bytes()
    (cli.folder / "cut.tar").write_bytes(saved[: len(saved) // 2])
    (cli.folder / "changed.tar").write_bytes(saved.replace(IN["file"].encode(), IN["file"][::-1].encode()))
    key_files.written(cli.folder)
    subprocess.run(["git", "init", "-q", "."], cwd=cli.folder, env=cli.environment, check=True)
    outputs = {cli.folder / name for name in ("a.tar", "cut.tar", "changed.tar", "flat.tar", "flat.oci")}
    return Place(cli, temporary, frozenset({*inputs, *outputs}), nursery)
