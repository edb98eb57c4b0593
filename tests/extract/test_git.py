"""Git repositories made by git itself."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from auditor.extract.git_commits import CommitHistory
from auditor.extract.git_objects import add_loose_object, loose_object, object_name
from auditor.extract.member_extractor import MemberExtractor
from tests.extract.opened import opened
from tests.images import token

SECRET = token(11)
COMMITS = 25


def git(folder: Path, *words: str, when: int = 0) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {
            f"GIT_{who}_NAME": "a",
            f"GIT_{who}_EMAIL": "a@b.invalid",
            f"GIT_{who}_DATE": f"{1_700_000_000 + when} +0000",
        }
    return subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository whose secret was added, changed and deleted; and the last commit that had it."""
    folder, noise = tmp_path_factory.mktemp("repository"), random.Random(3)
    lines = [f"line {noise.random()}" for _ in range(300)]
    git(folder, "init", "-q")
    (folder / "config").mkdir()
    last = ""
    for number in range(COMMITS):
        lines[noise.randrange(300)] = f"changed {number} {noise.random()}"
        (folder / "main.txt").write_text("\n".join(lines))
        env = folder / "config" / ".env"
        if 5 <= number < 15:
            env.write_text("\n".join(lines[:100]) + (f"\nTOKEN={SECRET}\n" if number > 7 else "\n"))
        elif env.exists():
            env.unlink()
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", f"step {number}", when=number)
        last = git(folder, "rev-parse", "HEAD").strip() if number == 14 else last
    return folder, last


def packed(folder: Path, *options: str) -> bytes:
    names = git(folder, "rev-list", "--objects", "--all").split("\n")
    listing = "\n".join(name.split(" ")[0] for name in names if name)
    made = subprocess.run(
        ["git", "pack-objects", "--stdout", "-q", "--window=50", *options],
        cwd=folder, input=listing.encode(), check=True, capture_output=True,
    )  # fmt: skip
    return made.stdout


@pytest.mark.parametrize("options", [["--delta-base-offset"], [], ["--depth=0"]], ids=["offsets", "names", "whole"])
def test_every_object_of_a_pack_is_read_as_git_reads_it(repository: tuple[Path, str], options: list[str]) -> None:
    folder, _ = repository
    found = opened("app/.git/objects/pack/pack-1.pack", packed(folder, *options))
    assert not found.notes
    contents = {piece.data for piece in found.pieces}
    for line in git(folder, "cat-file", "--batch-all-objects", "--batch-check").splitlines():
        name, kind, _ = line.split()
        if kind in ("blob", "commit"):
            raw = subprocess.run(["git", "cat-file", kind, name], cwd=folder, check=True, capture_output=True).stdout
            assert raw in contents


def test_a_secret_deleted_from_the_history_is_found_with_its_last_commit_and_path(repository: tuple[Path, str]) -> None:
    folder, last = repository
    data = packed(folder, "--delta-base-offset")
    found = opened("app/.git/objects/pack/pack-1.pack", data)
    ways = [way for way, _ in found.ways(SECRET)]
    assert f"commit {last[:12]}:config/.env" in ways
    assert all(way and way.startswith("commit ") and way.endswith(":config/.env") for way in ways)
    got = MemberExtractor().member_content("x.pack", data, f"commit {last[:12]}:config/.env")
    assert got is not None and SECRET.encode() in got


def test_a_loose_object_is_read_and_its_repository_can_name_it(repository: tuple[Path, str]) -> None:
    folder, last = repository
    history, blobs = CommitHistory(), {}
    for path in sorted((folder / ".git" / "objects").glob("??/*")):
        name, data = str(path.relative_to(folder)), path.read_bytes()
        assert MemberExtractor().is_extractable(name, data[:512])
        add_loose_object(history, name, data)
        found = opened(name, data)
        if found.ways(SECRET):
            blobs[object_name(name)] = name
    blob_paths = history.blob_paths()
    assert f"commit {last[:12]}:config/.env" in {blob_paths[name] for name in blobs if name}
    name = next(iter(blobs.values()))
    (piece,) = opened(name, (folder / name).read_bytes()).pieces
    assert piece.member == f"blob {object_name(name)}"[:17]
    for member in (piece.member, f"commit {last[:12]}:config/.env"):
        assert MemberExtractor().member_content(name, (folder / name).read_bytes(), member) == piece.data


def test_a_thin_pack_says_what_it_lacks(repository: tuple[Path, str]) -> None:
    folder, _ = repository
    thin = subprocess.run(
        ["git", "pack-objects", "--stdout", "--thin", "--revs", "-q"],
        cwd=folder, input=b"HEAD\n^HEAD~3\n", check=True, capture_output=True,
    ).stdout  # fmt: skip
    found = opened("a.pack", thin)
    assert [why for _, why in found.notes if "base in another pack" in why]


def test_a_broken_loose_object_is_noted() -> None:
    path = "r/.git/objects/ab/" + "c" * 38
    assert loose_object(path, b"x\x9cnonsense", 100) is None
    found = opened(path, b"x\x9cnonsense")
    assert found.notes == ((path, "is a broken git object"),)
