"""Where the hook is put, what it leaves of what was there, and how it is taken away, with real git."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from auditor.hook.install import BEFORE, script
from tests.conftest import Cli
from tests.hook.repository import SEEN, Repository


def test_a_hook_that_is_there_runs_first_and_sees_what_git_gives(repository: Repository) -> None:
    seen = repository.write_hook(SEEN.replace("{status}", "0"))
    done = repository.cli("hook", "install")
    assert done.status == 0 and f"{BEFORE} runs first" in done.out
    pushed = repository.push()
    assert pushed.returncode == 0 and "nothing to audit" in pushed.stderr
    remote, ref = seen.read_text().splitlines()
    assert remote == f"origin {repository.remote}"
    assert ref.startswith("refs/heads/main ") and ref.split()[2] == "refs/heads/main"


def test_its_verdict_counts(repository: Repository) -> None:
    repository.write_hook(SEEN.replace("{status}", "7"))
    repository.cli("hook", "install")
    done = repository.push()
    assert done.returncode != 0 and "image-audit" not in done.stderr
    direct = subprocess.run(
        [repository.hook], input=b"", cwd=repository.folder, env=repository.cli.environment, check=False
    )
    assert direct.returncode == 7


def test_one_that_git_would_not_run_is_not_run(repository: Repository) -> None:
    seen = repository.write_hook(SEEN.replace("{status}", "7"), mode=0o644)
    repository.cli("hook", "install")
    assert repository.push().returncode == 0 and not seen.exists()


def test_uninstall_restores_every_byte_and_the_mode(repository: Repository) -> None:
    repository.write_hook("exit 0 # \xe9", mode=0o751)
    before = repository.hook.read_bytes(), stat.S_IMODE(repository.hook.stat().st_mode)
    assert repository.cli("hook", "install").status == 0
    once = repository.hook.read_bytes()
    assert repository.cli("hook", "install").status == 0
    assert repository.hook.read_bytes() == once != before[0]
    assert repository.cli("hook", "uninstall").status == 0
    assert (repository.hook.read_bytes(), stat.S_IMODE(repository.hook.stat().st_mode)) == before
    assert not list(repository.hook.parent.glob("*image-audit*"))


def test_a_symbolic_link_is_restored_as_a_link(repository: Repository) -> None:
    repository.hook.parent.mkdir(exist_ok=True)
    repository.hook.symlink_to("../../tools/hook")
    repository.cli("hook", "install")
    repository.cli("hook", "uninstall")
    assert os.readlink(repository.hook) == "../../tools/hook"


def test_uninstall_leaves_nothing_and_touches_no_hook_of_others(repository: Repository) -> None:
    repository.cli("hook", "install")
    assert repository.cli("hook", "uninstall").out.endswith("removed\n") and not repository.hook.exists()
    repository.write_hook("exit 0\n")
    done = repository.cli("hook", "uninstall")
    assert done.status == 0 and "not installed here" in done.out and repository.hook.exists()


@pytest.mark.parametrize("scope", ["--local", "--global"])
def test_core_hooks_path_is_followed(repository: Repository, scope: str) -> None:
    folder = ".githooks" if scope == "--local" else str(repository.folder.parent / "shared hooks")
    repository.git("config", scope, "core.hooksPath", folder)
    below = repository.folder / "below"
    below.mkdir()
    done = Cli(repository.cli.environment, below)("hook", "install")
    assert done.status == 0 and (repository.folder / folder / "pre-push").exists() and not repository.hook.exists()
    assert ("all your repositories" in done.err) == (scope == "--global")
    assert "nothing to audit" in repository.push().stderr


def test_a_worktree_shares_the_hook_and_has_its_own_config(repository: Repository) -> None:
    tree = repository.folder.parent / "tree"
    repository.git("worktree", "add", "-q", tree, "-b", "side")
    assert Cli(repository.cli.environment, tree)("hook", "install").status == 0
    assert repository.hook.exists()
    (tree / ".image-audit.yaml").write_text("nope: 1\n")
    assert "unknown key 'nope'" in repository.git("push", "origin", "side", at=tree).stderr
    assert repository.push().returncode == 0


def test_a_bare_repository_has_hooks_too(repository: Repository) -> None:
    bare = Cli(repository.cli.environment, repository.remote)
    assert bare("hook", "install").status == 0
    assert (repository.remote / "hooks/pre-push").exists()


def test_a_folder_of_the_repository_is_not_taken_for_the_program(repository: Repository) -> None:
    repository.cli("hook", "install")
    trap = repository.folder / "auditor"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise SystemExit(9)\n")
    assert "nothing to audit" in repository.push().stderr


def test_where_the_program_is_gone_the_push_stops_and_says_so(repository: Repository) -> None:
    repository.write_hook("")
    repository.hook.write_text(script("/nonexistent/python"))
    assert "nothing to audit" in repository.push().stderr  # found on the PATH instead
    bare = {"PATH": "/usr/bin:/bin"}
    repository.commit("more", "two\n")
    done = repository.push(**bare)
    assert done.returncode != 0 and "image-audit: not found" in done.stderr
    assert repository.push(SKIP="image-audit", **bare).returncode == 0


def test_what_can_not_be_installed_is_one_line_and_exit_2(repository: Repository) -> None:
    def refused(message: str) -> None:
        done = repository.cli("hook", "install")
        assert done.status == 2 and message in done.err and len(done.err.splitlines()) == 1, done.err

    repository.write_hook("exit 0\n")
    (repository.hook.parent / BEFORE).write_text("")
    refused("is another hook, and")
    repository.git("config", "core.hooksPath", ".husky/_")
    refused('add the line `image-audit hook run "$@"` to')
    repository.git("config", "core.hooksPath", "/dev/null")
    refused("core.hooksPath is no folder, so git runs no hooks")
    outside = repository.folder.parent / "outside"
    outside.mkdir()
    done = Cli(repository.cli.environment, outside)("hook", "install")
    assert done.status == 2 and "not a git repository" in done.err
