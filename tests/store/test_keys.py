"""Cache keys cover all that made a kept value: its import closure, data files and libraries."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.core import cache_keys, limits
from auditor.core.cache_keys import PACKAGE, Producer
from auditor.core.limits import BY_NAME
from auditor.core.package_data import data_path
from tests.conftest import Cli
from tests.extract.test_archives import seven_zipped
from tests.images import image, layer, token
from tests.store.closure import canonical, closure, distributions, limits_read, named_distributions

PRODUCERS = {
    "RULES": cache_keys.RULES,
    "RECORDS": cache_keys.RECORDS,
    "VERDICTS": cache_keys.VERDICTS,
    "AUDITS": cache_keys.AUDITS,
}
ROOTS = {
    "RULES": ("auditor.detect.matcher", "auditor.detect.rule_cache"),
    "RECORDS": ("auditor.store.records", "auditor.scan.record_format", "auditor.extract.isolated_worker"),
    "VERDICTS": ("auditor.hook.run", "auditor.extract.isolated_worker"),
    "AUDITS": ("auditor.fleet.execution.sweep", "auditor.extract.isolated_worker"),
}
"""The functions that make each kind of value; the process that reads 7z and SQLite is started, and not imported."""
NETWORK = ("requests", "urllib3", "certifi", "charset-normalizer", "idna")
"""detect-secrets needs them to verify secrets, which it is never asked to; where they fetch, digests are checked."""
AUTHORITIES = {"certifi"}
"""Whom a connection trusts changes no bytes: their digests are checked."""
OTHER = ("greenlet", "Mako", "MarkupSafe", "typing-extensions")
"""What the store of sweeps needs itself: it changes neither bytes nor findings."""
EDITS = {
    "detect/heuristics/words.txt": PRODUCERS, "core/limits.py": PRODUCERS, "core/finding.py": PRODUCERS,
    "core/globs.py": PRODUCERS,
    "core/package_data.py": PRODUCERS,
    "detect/heuristics/plausibility.py": PRODUCERS, "extract/isolated_worker.py": ("RECORDS", "VERDICTS", "AUDITS"),
    "codec/tar.py": ("RECORDS", "VERDICTS", "AUDITS"), "store/records.py": ("RECORDS", "VERDICTS", "AUDITS"),
    "findings/selection.py": ("VERDICTS", "AUDITS"), "findings/collect.py": ("VERDICTS", "AUDITS"),
    "provenance/rpm.py": ("RECORDS", "VERDICTS", "AUDITS"),
    "hook/run.py": ("VERDICTS",), "fleet/store/ledger.py": ("AUDITS",),
    "cli/scan.py": (),
}  # fmt: skip
PRINT = f"""
import json
from auditor.core import cache_keys
print(json.dumps({{name: getattr(cache_keys, name).key for name in {[*PRODUCERS]}}}))
"""
OPENED = """
import sys
def note(event, given):
    if event == "open" and str(given[0]).startswith(({0!r}, {2!r})) and "site-packages" not in str(given[0]):
        print(given[0], file=sys.stderr)
sys.addaudithook(note)
from auditor.cli import main
sys.argv = ["image-audit", *{1!r}]
main()
"""


@pytest.mark.parametrize("name", PRODUCERS)
def test_a_key_covers_every_module_that_is_imported(name: str) -> None:
    covered = set(PRODUCERS[name].files())
    assert sorted(closure(ROOTS[name]).files - covered) == []


@pytest.mark.parametrize("name", PRODUCERS)
def test_a_key_covers_the_version_of_every_library_that_takes_part(name: str) -> None:
    own, foreign = set(map(canonical, PRODUCERS[name].libraries)), closure(ROOTS[name]).foreign
    assert sorted(named_distributions(foreign) - own - AUTHORITIES) == []
    assert sorted(distributions(foreign, without=(*NETWORK, *OTHER)) - own) == []


def test_all_libraries_that_a_key_names_are_installed_under_that_name() -> None:
    named = {library for maker in PRODUCERS.values() for library in maker.libraries}
    for_old_pythons = {"backports.zstd"} if sys.version_info >= (3, 14) else set()
    assert {library for library in named if not cache_keys.version_of(library)} <= for_old_pythons


def test_records_depend_on_no_limits_but_those_in_their_key() -> None:
    files = {
        name
        for name in closure(ROOTS["RECORDS"]).files
        if not name.startswith(("images/", "codec/json_documents.py", "core/limits.py"))
    }
    used = limits_read(files)
    groups = {limit.group for limit in BY_NAME.values() if limit.attribute in used}
    assert groups == set(limits.RECORDS) and "file_time" in used


def test_a_key_covers_every_data_file_that_a_scan_opens(cli: Cli) -> None:
    archive = seven_zipped({"a.env": f"TOKEN={token(5)}\n".encode()})
    target = image(layer({"a.7z": archive, "app/.env": "DB_PASSWORD=correct-horse-battery\n"}))
    path = target.docker_archive(cli.folder / "a.tar")
    program = OPENED.format(
        f"{PACKAGE}/", ["scan", str(path), "--format", "json", "--no-cache"], str(data_path("rules"))
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=cli.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    shipped = data_path("rules")  # what they say is in the digest of the rules
    opened = {Path(line) for line in done.stderr.splitlines()}
    data = {path for path in opened if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert PACKAGE / "detect/heuristics/words.txt" in data
    own = {str(path.relative_to(PACKAGE)) for path in data if PACKAGE in path.parents and shipped not in path.parents}
    assert own <= set(cache_keys.RECORDS.files())
    assert [path for path in data if PACKAGE not in path.parents and shipped not in path.parents] == []


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that may be edited."""
    folder = tmp_path_factory.mktemp("copied")
    shutil.copytree(PACKAGE, folder / "auditor", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def printed(folder: Path) -> dict[str, str]:
    """Return the keys of the package in a folder, before all else on the path."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT], env={"PYTHONPATH": str(folder)}, cwd=folder, capture_output=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def before(copied: Path) -> dict[str, str]:
    """The keys of the copy as it is."""
    return printed(copied)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_keys_of_what_depends_on_it(copied: Path, before: dict[str, str], name: str) -> None:
    path = copied / "auditor" / name
    own = path.read_bytes()
    path.write_bytes(own + b"\n")
    after = printed(copied)
    path.write_bytes(own)
    assert {maker for maker in PRODUCERS if before[maker] != after[maker]} == set(EDITS[name])


@pytest.mark.parametrize("library", ["hyperscan", "detect-secrets", "pathspec", "PyYAML"])
def test_an_upgrade_of_a_detector_changes_all_keys(copied: Path, before: dict[str, str], library: str) -> None:
    after = with_version(copied, library)
    assert [maker for maker in PRODUCERS if before[maker] == after[maker]] == []


@pytest.mark.parametrize("library", ["py7zr", "zstandard", "isal", "backports.zstd"])
def test_an_upgrade_of_a_decoder_changes_the_keys_of_records_and_of_all_above(
    copied: Path, before: dict[str, str], library: str
) -> None:
    after = with_version(copied, library)
    assert [maker for maker in PRODUCERS if before[maker] == after[maker]] == ["RULES"]


def with_version(copied: Path, library: str) -> dict[str, str]:
    """Return the keys where a library has another version."""
    info = copied / f"{library.replace('-', '_')}-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {library}\nVersion: 99.0\n")
    found = printed(copied)
    shutil.rmtree(info)
    return found


def test_compiled_rules_do_not_survive_an_upgrade_of_detect_secrets_without_a_cache_either(
    cli: Cli, tmp_path: Path
) -> None:
    target = image(layer({"a": f"{token(5)}\n"})).docker_archive(cli.folder / "a.tar")
    folder = Path(cli.environment["XDG_CACHE_HOME"]) / "image-audit"
    scan = ("scan", target, "--no-cache", "-q")
    assert cli(*scan).status == 1
    before = set(folder.glob("rules-*.index"))
    info = tmp_path / "other" / "detect_secrets-99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: detect_secrets\nVersion: 99.0\n")
    assert cli(*scan, PYTHONPATH=str(info.parent)).status == 1
    assert len(set(folder.glob("rules-*.index")) - before) == 1


def test_the_place_of_a_file_counts_as_its_content_does(copied: Path, before: dict[str, str]) -> None:
    (copied / "auditor/detect/heuristics/words.txt").rename(copied / "auditor/detect/heuristics/others.txt")
    after = printed(copied)
    (copied / "auditor/detect/heuristics/others.txt").rename(copied / "auditor/detect/heuristics/words.txt")
    assert before["RULES"] != after["RULES"]


def test_every_file_that_a_key_names_is_there() -> None:
    def names(maker: Producer) -> list[str]:
        return [name for name in maker.modules if not (PACKAGE / name).exists()]

    assert [names(maker) for maker in PRODUCERS.values()] == [[]] * len(PRODUCERS)
