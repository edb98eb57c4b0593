"""`image-audit flatten` at its edges: what it refuses, and that nothing is left of what fails."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.core.errors import UsageError
from auditor.rebuild.output_files import _move_all
from tests.conftest import Cli, docker
from tests.images import file, gzipped, image, layer, story, token, whiteout, with_names


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return story()[0].docker_archive(tmp_path / "in.tar")


def refused(done: object, *words: str) -> None:
    from tests.conftest import Result

    assert isinstance(done, Result)
    assert done.status == 2 and done.out == "" and len(done.err.splitlines()) == 1, done.err
    assert all(word in done.err for word in words), done.err


def test_one_place_to_write_to_and_one_way(cli: Cli, target: Path) -> None:
    refused(cli("flatten", target), "use exactly one of -o FILE, -t NAME or --push REF")
    refused(cli("flatten", target, "-o", "a", "-t", "b"), "use exactly one of -o FILE")
    refused(cli("flatten", target, "-o", "a", "--excise", "--minimal"), "use at most one of --excise")
    refused(cli("flatten", target, "-t", "Bad Name"), "is not an image reference")
    refused(cli("flatten", target, "-t", "a", "--format", "oci-archive"), "--format applies to -o FILE only")
    refused(cli("flatten", target, "-o", "a", "--compress", "gzip", "--level", "12"), "gzip has levels 1 to 9")


def test_layers_that_do_not_exist_or_are_too_high(cli: Cli, target: Path) -> None:
    refused(cli("flatten", target, "-o", "a", "--from", "3"), "--from 3", "has the layers 0 to 2")
    refused(cli("flatten", target, "-o", "a", "--from", "-1"), "--from -1", "has the layers 0 to 2")
    none = image().docker_archive(cli.folder / "none.tar")
    refused(cli("flatten", none, "-o", "a", "--from", "0"), "--from 0", "has no layers")
    none.unlink()
    refused(cli("flatten", target, "-o", "a", "--from", "2"), "--from 2: layer 1", "has hidden secrets", "--minimal")
    assert not list(cli.folder.iterdir())


def test_an_output_that_exists_or_is_the_target(cli: Cli, target: Path) -> None:
    (cli.folder / "a").write_text("precious")
    refused(cli("flatten", target, "-o", "a"), "a: exists. Use --force to overwrite it")
    assert (cli.folder / "a").read_text() == "precious"
    refused(cli("flatten", target, "-o", target, "--force"), "is the target itself")
    refused(cli("flatten", target, "-o", "none/a"), "none: no such folder")
    refused(cli("flatten", target, "-o", cli.folder), "not a regular file")
    refused(cli("flatten", "docker://a.example/b:1", "--push", "a.example/b:1"), "b:1: is the target itself", "--force")
    done = cli("flatten", target, "-o", "a", "--force")
    assert done.status == 0 and (cli.folder / "a").stat().st_size > 100
    assert [path.name for path in cli.folder.iterdir()] == ["a"]


def test_the_proof_has_a_place_of_its_own(cli: Cli, target: Path) -> None:
    """Checked before any work: an unwritable proof leaves no output."""
    refused(cli("flatten", target, "-o", "a", "--proof", "none/p.json"), "none: no such folder")
    refused(cli("flatten", target, "-o", "a", "--proof", "a"), "--proof a: is the output itself")
    refused(cli("flatten", target, "-o", "a", "--proof", target), "is the target itself")
    refused(cli("flatten", target, "-o", "a", "--proof", "/dev/null"), "not a regular file, which --proof needs")
    assert not list(cli.folder.iterdir()) and cli("scan", target).status == 1


def test_no_such_target_and_no_such_engine(cli: Cli, target: Path) -> None:
    refused(cli("flatten", "none.tar", "-o", "a"), "none.tar")
    refused(cli("flatten", target, "-t", "a"), "no Docker engine")
    refused(cli("flatten", target, "--push", "127.0.0.1:1/a"), "Connection refused")
    assert not list(cli.folder.iterdir())


def test_a_damaged_layer_leaves_nothing(cli: Cli, target: Path) -> None:
    data = target.read_bytes()
    at = data.index(b"my secret")
    target.write_bytes(data[:at] + b"MY" + data[at + 2 :])
    refused(cli("flatten", target, "-o", "a"), "layer 1: diff_id is", "damaged")
    assert not list(cli.folder.iterdir())


def test_a_full_disk_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    source = image(layer(file("big", os.urandom(2 << 20)))).docker_archive(tmp_path / "big.tar")
    done = subprocess.run(
        [sys.executable, "-m", "auditor", "flatten", str(source), "-o", "a"],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert done.returncode == 2 and done.stderr.decode().startswith("image-audit: .: can't be written: File too large")
    assert len(done.stderr.splitlines()) == 1
    assert not list(cli.folder.iterdir())


def test_an_archive_on_standard_input(cli: Cli, target: Path) -> None:
    with target.open("rb") as stream:
        done = cli("flatten", "-", "-o", "a.oci", stdin=stream)
    assert done.status == 0 and "oci-archive" in done.out, done.err
    assert cli("scan", "oci-archive:a.oci").status == 0


def test_an_image_without_hidden_secrets_is_no_failure(cli: Cli, tmp_path: Path) -> None:
    source = image(layer({"a": "x"})).docker_archive(tmp_path / "clean.tar")
    done = cli("flatten", source, "-o", "a.tar", "--excise")
    assert done.status == 0 and "no hidden secrets found" in done.out and "1 kept byte for byte" in done.out


class TestVerdict:
    """Visible secrets decide the exit code, as in a scan of the output."""

    @pytest.fixture
    def visible(self, tmp_path: Path) -> Path:
        """Seven secrets in visible files and the config, two of them twice, and one that is hidden."""
        secrets = [token(700 + number) for number in range(8)]
        files = {f"f{number}": f"x {secret}\n" for number, secret in enumerate(secrets[:5])}
        built = image(
            layer({**files, "again": secrets[0], "hidden": secrets[7]}),
            layer(whiteout("hidden")),
            config={"Env": [f"A={secrets[5]}", f"B={secrets[1]}"], "Labels": {"l": secrets[6]}},
        )
        return built.docker_archive(tmp_path / "visible.tar")

    @pytest.mark.parametrize("way", [(), ("--excise",), ("--minimal",)], ids=" ".join)
    def test_visible_secrets_are_not_clean(self, cli: Cli, visible: Path, way: tuple[str, ...]) -> None:
        done = cli("flatten", visible, "-o", "a.tar", "--proof", "p.json", *way)
        assert done.status == 1 and not done.err
        assert done.out.splitlines()[0] == "NOT CLEAN: 7 secrets remain in visible files or metadata"
        scan = cli("scan", "a.tar", "--format", "json")
        assert scan.status == 1 and len({finding["secret_id"] for finding in scan.json["findings"]}) == 7
        proof = json.loads((cli.folder / "p.json").read_text())
        assert proof["verdict"] == {"clean": False, "secrets": 7, "fail_on": "high"}

    def test_an_unread_visible_file_is_partly_proven(self, cli: Cli, tmp_path: Path) -> None:
        damaged = gzipped(b"x" * 1000)[:-20]
        built = image(layer({"broken.gz": damaged, "hidden": token(7)}), layer(whiteout("hidden")))
        done = cli("flatten", built.docker_archive(tmp_path / "a.tar"), "-o", "b.tar")
        assert done.status == 0 and "\nproven: " not in done.out
        assert done.out.splitlines()[0] == "PARTLY PROVEN: 1 visible item could not be read and may hold secrets"
        assert "partly proven: 1 path compared" in done.out and "not read: /broken.gz: " in done.out
        done = cli("flatten", tmp_path / "a.tar", "-o", "c.tar", "--strict")
        assert (done.status, done.out) == (2, "") and not (cli.folder / "c.tar").exists()
        assert "1 visible item could not be read, and --strict is set" in done.err

    @pytest.mark.parametrize("way", ["", "--excise", "--minimal"])
    def test_an_unread_hidden_file_is_removed_like_a_secret(self, cli: Cli, tmp_path: Path, way: str) -> None:
        broken = gzipped(b"x" * 1000)[:-20]
        built = image(layer({"kept": "x"}), layer({"broken.gz": broken, "b": "x"}), layer(whiteout("broken.gz")))
        target = built.docker_archive(tmp_path / "a.tar")
        done = cli("flatten", target, "-o", "b.tar", "--strict", *([way] if way else []))
        assert done.status == 0 and "PARTLY" not in done.out, done.err
        assert broken not in (cli.folder / "b.tar").read_bytes()
        assert "no hidden secrets found in what was read; 1 item of the target could not be read" in done.out

    def test_quiet_keeps_the_warning(self, cli: Cli, visible: Path) -> None:
        done = cli("flatten", visible, "-o", "a.tar", "-q")
        assert (done.status, done.out) == (1, "NOT CLEAN: 7 secrets remain in visible files or metadata\n")

    @pytest.mark.parametrize(("level", "status"), [("never", 0), ("critical", 1), ("low", 1)])
    def test_the_level_that_fails_is_chosen(self, cli: Cli, visible: Path, level: str, status: int) -> None:
        done = cli("flatten", visible, "-o", "a.tar", "--fail-on", level)
        assert done.status == status == cli("scan", "a.tar", "-q", "--fail-on", level).status
        assert done.out.startswith("NOT CLEAN: 7 ") is bool(status) and "Remaining in visible files" in done.out

    def test_the_config_file_sets_the_level_and_the_selection(self, cli: Cli, visible: Path) -> None:
        for text, count in (
            ("fail_on: never\n", None),
            ("exclude: {paths: [/f0, /again]}\n", 6),
            ("ignore:\n- {path: /f2, reason: known}\n", 6),
            ("min_confidence: low\n", 7),
        ):
            (cli.folder / ".image-audit.yaml").write_text(text)
            done = cli("flatten", visible, "-o", "a.tar", "--force")
            assert done.status == (count is not None) == cli("scan", "a.tar", "-q").status, text
            assert (f"NOT CLEAN: {count} secrets" in done.out) is (count is not None), text

    def test_a_clean_result_has_no_warning(self, cli: Cli, target: Path) -> None:
        done = cli("flatten", target, "-o", "a.tar", "--proof", "p.json")
        assert done.status == 0 and "NOT CLEAN" not in done.out
        assert json.loads((cli.folder / "p.json").read_text())["verdict"]["clean"]


class TestProof:
    """The proof and the output are there together, or neither is."""

    LONG = "p" * 300

    @pytest.mark.parametrize("proof", [LONG, "link", "folder", "/proc/p.json", "/dev/full", "none/p.json", "a"])
    def test_without_a_writable_proof_no_output_is_left(self, cli: Cli, target: Path, proof: str) -> None:
        (cli.folder / "folder").mkdir()
        (cli.folder / "link").symlink_to("nowhere/p.json")
        before = set(cli.folder.iterdir())
        done = cli("flatten", target, "-o", "a", "--proof", proof)
        if proof == "link":  # it is replaced by the proof, as every file is
            assert done.status == 0 and (cli.folder / "link").is_file()
            return
        refused(done, Path(proof).parent.name if proof.startswith("none") else Path(proof).name[:100])
        assert set(cli.folder.iterdir()) == before

    def test_it_is_seen_before_any_work(self, cli: Cli) -> None:
        refused(cli("flatten", "no-such.tar", "-o", "a", "--proof", self.LONG), "File name too long")

    def test_a_disk_that_fills_up_leaves_neither(self, cli: Cli, target: Path) -> None:
        for function in ("os.posix_fallocate", "auditor.core.atomic_files.Path.replace"):
            code = (
                "import errno, os, pathlib, sys, auditor.core.atomic_files\n"
                "def full(*_, **__):\n    raise OSError(errno.ENOSPC, 'No space left on device')\n"
                f"{function} = full\n"
                "from auditor.cli import main\nmain(sys.argv[1:])"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, "flatten", str(target), "-o", "a", "--proof", "p"],
                cwd=cli.folder, env=cli.environment, capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode == 2 and b"No space left" in done.stderr, done
            assert not list(cli.folder.iterdir())

    def test_previous_files_are_restored(self, tmp_path: Path) -> None:
        names = "one", "two", "three"
        work = tmp_path / "work"
        work.mkdir()
        for name in names:
            (work / name).write_text("new")
        (tmp_path / "one").write_text("old")
        (tmp_path / "three").mkdir()
        with pytest.raises(UsageError, match="three: can't be written"):
            _move_all([(work / name, tmp_path / name) for name in names])
        assert (tmp_path / "one").read_text() == "old" and not (tmp_path / "two").exists()
        (tmp_path / "three").rmdir()
        for name in names:
            (work / name).write_text("new")
        _move_all([(work / name, tmp_path / name) for name in names])
        assert [(tmp_path / name).read_text() for name in names] == ["new"] * 3


class TestNames:
    """A name that stands for another image is moved only when told, be it a file's, an engine's or a registry's."""

    @pytest.mark.engine
    @pytest.mark.xdist_group("engine")
    def test_of_the_engine(self, cli: Cli, target: Path, engine: str, tmp_path: Path) -> None:
        name = f"image-audit-names-{os.getpid()}:1"
        docker("load", "-i", str(with_names(image(layer({"a": "x"})), name).docker_archive(tmp_path / "other.tar")))
        try:
            had = docker("image", "inspect", "-f", "{{.Id}}", name)
            done = cli("flatten", target, "-t", name, "--proof", "p.json", DOCKER_HOST=engine)
            refused(done, f"-t {name}: the engine has an image of that name", "--force")
            assert docker("image", "inspect", "-f", "{{.Id}}", name) == had and not list(cli.folder.iterdir())
            done = cli("flatten", target, "-t", name, "--force", DOCKER_HOST=engine)
            assert done.status == 0 and docker("image", "inspect", "-f", "{{.Id}}", name) != had
            docker("rmi", had)
        finally:
            docker("rmi", name)

    @pytest.mark.engine
    @pytest.mark.xdist_group("engine")
    @pytest.mark.parametrize("there", [True, False])
    def test_of_the_engine_comes_back_where_loading_fails(
        self, cli: Cli, target: Path, engine: str, tmp_path: Path, there: bool
    ) -> None:
        name = f"image-audit-back-{os.getpid()}:1"
        if there:
            docker("load", "-i", str(with_names(image(layer({"a": "y"})), name).docker_archive(tmp_path / "o.tar")))
        code = (
            "import sys\nfrom auditor.images import daemon\nown = daemon.inspect\nfrom dataclasses import replace\n"
            "loaded, load = [], daemon.load\ndef spoilt(name):\n    image = own(name)\n"
            "    return replace(image, diff_ids=()) if loaded else image\n"
            "daemon.load = lambda path: (load(path), loaded.append(1))\ndaemon.inspect = spoilt\n"
            "from auditor.cli import main\nmain(sys.argv[1:])"
        )
        before = docker("images", "-q", "--no-trunc", name)
        done = subprocess.run(
            [sys.executable, "-c", code, "flatten", str(target), "-t", name, "--force", "--proof", "p.json"],
            cwd=cli.folder, env={**cli.environment, "DOCKER_HOST": engine}, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and b"the engine has other layers" in done.stderr, done
        assert docker("images", "-q", "--no-trunc", name) == before and bool(before) is there
        assert not list(cli.folder.iterdir())
        if there:
            docker("rmi", name)

    @pytest.mark.registry
    def test_of_a_registry(self, cli: Cli, target: Path, registry: str) -> None:
        name = f"{registry}/names/{os.getpid()}:1"
        assert cli("flatten", target, "--push", name).status == 0
        refused(
            cli("flatten", target, "--push", name, "--proof", "p.json"),
            f"--push {name}: exists in the registry",
            "--force",
        )
        assert not list(cli.folder.iterdir())
        assert cli("flatten", target, "--push", name, "--force").status == 0
