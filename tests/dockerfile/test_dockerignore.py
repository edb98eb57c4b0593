"""`.dockerignore`: against a real engine, which sends what is not excluded, and by the cases that surprise."""

from __future__ import annotations

import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from auditor.core.errors import DockerfileError
from auditor.dockerfile import build_context
from auditor.dockerfile.build_context import open_context
from auditor.dockerfile.dockerignore import compile_patterns
from tests.conftest import docker
from tests.dockerfile.conftest import write

TREE = (
    ".env", ".hidden/a.txt", "a.txt", "b.md", "dir/.env", "dir/a.txt", "dir/deep/a.txt", "dir/deep/b.md",
    "dir2/x[1].txt", "lib/a.go", "lib/a_test.go", "other/dir/a.txt", "README.md", "src/README-secret.md",
    "src/deep/er/README.md", "we ird/a b",
)  # fmt: skip
CASES = (
    "*.md\n!README.md",
    "*.md\n!README*.md\nREADME-secret.md",
    "**/*.md\n!README.md",
    "dir",
    "/dir/",
    "dir/\n!dir/deep/a.txt",
    "**/dir",
    "**/deep/**",
    "dir/**\n!dir/deep\ndir/deep/*.md",
    "*\n!dir\n!lib/*.go",
    "*\n!**/a.txt",
    "*/*",
    "*/*/a.txt",
    "?.txt",
    "[ab].*",
    "[^a].md",
    "dir2/x\\[1\\].txt",
    "# dir\n  lib  \n\n./a.txt\n../a.txt",
    "!a.txt",
    "d*/a.txt",
    "**",
    "**\n!src",
    "we ird",
    ".*",
    "dir/../lib",
    "s**md",
)


def kept(folder: Path) -> list[str]:
    return [entry.path for entry in open_context(folder / "Dockerfile", None).entries if entry.path in TREE]


def sent(folder: Path) -> list[str]:
    """Build for real, and return the files that the engine got."""
    name = f"image-audit-test-ignore-{os.getpid()}"
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    command = ["docker", "build", "-q", "-t", name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if "no source files were specified" in done.stderr or "no such file or directory" in done.stderr:
        return []
    assert done.returncode == 0, done.stderr
    container = docker("create", name, "none")
    try:
        docker("export", "-o", str(folder.parent / "out.tar"), container)
        with tarfile.open(folder.parent / "out.tar") as tar:
            names = [item.name.removeprefix("context/") for item in tar if item.isfile()]
        return sorted(path for path in names if path in TREE)
    finally:
        docker("rm", "-f", container)
        docker("rmi", "-f", name)


def random_patterns(seed: int) -> str:
    source = random.Random(seed)
    pieces = ["*", "**", "dir", "deep", "a.txt", "*.md", "src", "lib", "?.txt", "README*", "d*", "**/"]
    lines = [
        source.choice(["", "", "!"]) + "/".join(source.choice(pieces) for _ in range(source.randint(1, 3)))
        for _ in range(source.randint(1, 5))
    ]
    return "\n".join(lines)


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("patterns", [*CASES, *map(random_patterns, range(10))])
def test_the_engine_gets_what_is_not_excluded(tmp_path: Path, patterns: str) -> None:
    folder = tmp_path / "context"
    write(
        folder,
        {**dict.fromkeys(TREE, "x"), "Dockerfile": "FROM scratch\nCOPY . /context/\n", ".dockerignore": patterns},
    )
    assert kept(folder) == sent(folder), patterns


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        ("temp", "temp/a/b", True),
        ("temp", "sub/temp", False),
        ("*/temp*", "sub/temporary.txt", True),
        ("*/*/temp*", "sub/temporary.txt", False),
        ("**/*.go", "a.go", True),
        ("**/*.go", "x/y/a.go", True),
        ("**/*.go", "a.go.txt", False),
        (".git", ".gitignore", False),
        ("*.MD", "a.md", False),
        ("a\nb\n!a/keep", "a/keep", False),
        ("a\n!a/keep\na", "a/keep", True),
    ],
)
def test_cases_of_the_reference(patterns: str, path: str, excluded: bool) -> None:
    assert compile_patterns(patterns.splitlines()).excludes(path) is excluded


@pytest.mark.parametrize("line", ["[a", "!", "a[", "[z-a]"])
def test_a_malformed_pattern_names_its_line(line: str) -> None:
    with pytest.raises(DockerfileError, match=r"^\.dockerignore:2: "):
        compile_patterns(["ok", line])


def test_a_context_of_more_files_than_the_limit_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_context, "MAX_FILES", 3)
    write(tmp_path, {f"f{number}": "" for number in range(9)})
    found = open_context(tmp_path / "Dockerfile", None)
    assert len(found.entries) == 3 and found.truncated
