"""The command line: exit status, what is printed where, and what a user reads when something is wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.cli import main
from tests.conftest import Cli
from tests.images import COMPRESSIONS, file, hardlink, image, layer, opaque, story, symlink, token, whiteout

STORY, SECRET = story(21)


@pytest.fixture
def archive(cli: Cli) -> Path:
    return STORY.docker_archive(cli.folder / "layer2.tar")


def test_help_lists_the_commands(cli: Cli) -> None:
    done = cli("--help")
    assert done.status == 0
    assert all(name in done.out for name in ("scan", "history", "recover"))


def test_help_imports_nothing_heavy(cli: Cli) -> None:
    code = (
        "import sys; sys.argv = ['image-audit', '--help']\n"
        "from auditor.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'docker', 'hyperscan', 'jinja2', 'requests', 'rich', 'yaml', 'detect_secrets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=cli.environment)
    assert out.stdout.splitlines()[-1] == "[]"


def test_clean_is_0_and_a_finding_is_1(cli: Cli, archive: Path) -> None:
    clean = image(layer({"a": "nothing here\n"})).docker_archive(cli.folder / "clean.tar")
    assert cli("scan", clean).status == 0
    assert cli("scan", archive).status == 1
    assert cli("scan", clean, archive).status == 1


def test_fail_on_sets_what_fails(cli: Cli, archive: Path) -> None:
    assert cli("scan", archive, "--fail-on", "never").status == 0
    assert cli("scan", archive, "--fail-on", "critical").status == 1


def test_state_confidence_rule_and_path_select(cli: Cli, archive: Path) -> None:
    def places(*options: str) -> list[str]:
        return [f["path"] or f["where"] for f in cli("scan", archive, "--format", "json", *options).json["findings"]]

    assert places("--state", "deleted") == ["/secret.txt"]
    assert places("--state", "present,metadata") == ["history[1].created_by"]
    assert places("--exclude-path", "/secret*", "--state", "deleted") == []
    assert places("--rule", "private-key") == []
    assert "/secret.txt" in places("--rule", "github-pat")


def test_rules_of_ones_own_are_added(cli: Cli) -> None:
    rules = cli.folder / "rules.yaml"
    rules.write_text(
        "- {id: acme-token, name: Acme token, provider: acme, severity: high, confidence: high,\n"
        "   pattern: '\\bacme_[0-9]{12}\\b', keywords: [acme_],\n"
        "   examples: ['acme_{digits:12}'], counterexamples: ['acme_{digits:11}']}\n"
    )
    built = image(layer({"a": "key: acme_" + "918273645546\n"})).docker_archive(cli.folder / "a.tar")
    (finding,) = cli("scan", built, "--rules", rules, "--format", "json").json["findings"]
    assert (finding["rule"], finding["secret"]) == ("acme-token", "ac****")


def test_show_secrets_shows_them_in_the_report_alone(cli: Cli, archive: Path) -> None:
    done = cli("scan", archive, "--show-secrets", "--format", "json", "-v")
    assert {f["secret"] for f in done.json["findings"]} == {SECRET}
    assert SECRET not in done.err


def test_reports_are_written_by_their_ending_and_show_no_secret(cli: Cli, archive: Path) -> None:
    names = ("a.json", "a.html", "a.sarif", "a.md", "a.xml", "gl-secret-detection-report.json")
    done = cli("scan", archive, *(part for name in names for part in ("-o", name)), "-q")
    assert (done.status, done.out, done.err) == (1, "", "")
    for name in names:
        text = (cli.folder / name).read_text()
        assert "secret.txt" in text and SECRET not in text
    assert '"vulnerabilities"' in (cli.folder / names[-1]).read_text()
    unknown = cli("scan", archive, "-o", "a.doc")
    assert unknown.status == 2 and "unknown file ending" in unknown.err


def test_the_config_is_found_upward_and_an_option_wins(cli: Cli, archive: Path) -> None:
    (cli.folder / ".image-audit.yaml").write_text("fail_on: never\nexclude: {paths: ['/secret.txt']}\n")
    below = cli.folder / "below"
    below.mkdir()
    lower = Cli(cli.environment, below)
    done = lower("scan", archive, "--format", "json")
    assert done.status == 0
    assert [f["path"] for f in done.json["findings"]] == [None]
    assert lower("scan", archive, "--fail-on", "high").status == 1


def test_an_unknown_key_in_the_config_names_the_nearest(cli: Cli, archive: Path) -> None:
    (cli.folder / ".image-audit.yaml").write_text("fail_onn: high\n")
    done = cli("scan", archive)
    assert done.status == 2 and "unknown key 'fail_onn'; did you mean 'fail_on'?" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan"], "Missing argument"),
        (["scan", "x.tar"], "x.tar: can't be read: No such file or directory"),
        (["scan", "--nope", "x"], "--nope"),
        (["scan", "x", "--sevrity", "critical"], "No such option '--sevrity'; did you mean '--fail-on critical'?"),
        (["scan", "x", "--sevrity", "high"], "No such option '--sevrity'; did you mean '--fail-on high'?"),
        (["scan", "x", "--severity=json"], "No such option '--severity'; did you mean '--format json'?"),
        (["scan", "x", "--severity"], "No such option '--severity'; did you mean '--fail-on'?"),
        (["scan", "x", "--severity", "medum"], "No such option '--severity'; did you mean '--fail-on medium'?"),
        (["scan", "x", "--severity", "deleted"], "No such option '--severity'; did you mean '--state deleted'?"),
        (["scan", "x", "--json"], "No such option '--json'; did you mean '--format json'?"),
        (["flatten", "x", "--tag", "app:1"], "No such option '--tag'; did you mean '-t'?"),
        (["scan", "x", "--fail-on", "hi"], "'never'; did you mean 'high'?"),
        (["scan", "x", "--format", "sarf"], "'junit'; did you mean 'sarif'?"),
        (["scan", "x.tar", "--fail-on", "HIGH", "--state", "Deleted"], "x.tar: can't be read"),
        (["scan", "x", "--fail-o", "high"], "No such option '--fail-o'; did you mean '--fail-on'?"),
        (["scna", "x"], "unknown command 'scna'; did you mean 'scan'?"),
        (["scan", "oci:"], "nothing follows oci:"),
        (["scan", "garbage.tar"], "not an image"),
        (["scan", "."], "no OCI layout"),
        (["scan", "layer2.tar", "--rule", "github-patt"], "unknown rule 'github-patt'; did you mean 'github-pat'? `"),
        (["scan", "layer2.tar", "--state", "gone"], "'--state': 'gone' is not one of"),
        (["scan", "layer2.tar", "--platform", "linux/s390x"], "linux/s390x"),
        (["scan", "layer2.tar", "--rules", "nope.yaml"], "nope.yaml: can't be read"),
        (["scan", "docker-archive:layer2.tar:other:1"], "no image named other:1"),
        (["recover", "layer2.tar", "/nope"], "no layer has a file /nope"),
        (["recover", "layer2.tar", "/etc"], "it is not a regular file"),
        (["recover", "layer2.tar", "/secret.txt", "--layer", "0"], "not in layer 0. Existing versions: --layer 1"),
        (["recover", "layer2.tar", "/secret.txt", "-o", "garbage.tar"], "exists already. Use --force"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(cli: Cli, archive: Path, arguments: list[str], message: str) -> None:
    assert archive.exists()
    (cli.folder / "garbage.tar").write_bytes(b"garbage" * 200)
    done = cli(*arguments)
    assert done.status == 2 and done.out == ""
    assert message in done.err and len(done.err.splitlines()) == 1, done.err


def test_an_unreadable_file_is_said(cli: Cli, archive: Path) -> None:
    if os.geteuid() == 0:
        target = cli.folder / "loop"
        target.symlink_to(target)
        assert "can't be read: Too many levels" in cli("scan", "./loop").err
    else:
        archive.chmod(0)
        assert "can't be read: Permission denied" in cli("scan", archive).err


class TestRecover:
    def test_prints_the_bytes(self, cli: Cli, archive: Path) -> None:
        assert cli("recover", archive, "/secret.txt").out == f"my secret {SECRET}\n"
        assert cli("recover", archive, "secret.txt", "--layer", "1").out == f"my secret {SECRET}\n"

    def test_writes_a_file_with_its_mode(self, cli: Cli) -> None:
        built = image(layer(file("bin/tool", b"\x00\x01", mode=0o4750)), layer(whiteout("bin/tool")))
        target = built.docker_archive(cli.folder / "a.tar")
        assert cli("recover", target, "/bin/tool", "-o", "tool").status == 0
        out = cli.folder / "tool"
        assert out.read_bytes() == b"\x00\x01" and stat.S_IMODE(out.stat().st_mode) == 0o750
        assert cli("recover", target, "/bin/tool", "-o", "tool").status == 2
        assert cli("recover", target, "/bin/tool", "-o", "tool", "--force").status == 0

    def test_lists_several_versions_and_takes_the_one_named(self, cli: Cli) -> None:
        built = image(layer({"a": "one"}), layer({"a": "twoo"}), layer(whiteout("a")))
        target = built.docker_archive(cli.folder / "a.tar")
        done = cli("recover", target, "/a")
        assert done.status == 2
        assert "--layer 0: 3 bytes, overwritten in layer 1; --layer 1: 4 bytes, deleted in layer 2" in done.err
        assert cli("recover", target, "/a", "--layer", "1").out == "twoo"

    def test_takes_one_of_two_entries_in_one_layer(self, cli: Cli) -> None:
        secret = token(31)
        built = image(layer(file("a", f"x {secret}\n"), file("a", "clean")))
        target = built.docker_archive(cli.folder / "a.tar")
        (finding,) = cli("scan", target, "--format", "json").json["findings"]
        assert (finding["state"], finding["added_in"], finding["hidden_in"]) == ("overwritten", 0, 0)
        assert cli("recover", target, "/a", "--layer", "0").out == "clean"
        assert cli(*finding["recover"].split()[1:]).out == f"x {secret}\n"

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_from_every_compression_and_standard_input(self, cli: Cli, compression: str) -> None:
        target = STORY.oci_archive(cli.folder / "a.tar", compression)
        assert cli("recover", target, "/secret.txt").out == f"my secret {SECRET}\n"
        assert cli("recover", "-", "/secret.txt", stdin=target.read_bytes()).out == f"my secret {SECRET}\n"

    def test_follows_a_hard_link_and_names_a_symbolic_one(self, cli: Cli) -> None:
        built = image(
            layer(file("a", "data"), hardlink("b", "a"), symlink("c", "a")), layer(whiteout("b"), whiteout("c"))
        )
        target = built.docker_archive(cli.folder / "a.tar")
        assert cli("recover", target, "/b").out == "data"
        assert "it is a link to a" in cli("recover", target, "/c").err

    def test_a_name_that_is_not_utf_8_is_found_as_the_report_shows_it(self, cli: Cli) -> None:
        secret = token(32)
        built = image(layer(file("caf\udce9.txt", f"x {secret}\n")), layer(opaque("")))
        target = built.docker_archive(cli.folder / "a.tar")
        (finding,) = cli("scan", target, "--format", "json").json["findings"]
        assert finding["path"] == "/caf\\xe9.txt"
        assert cli("recover", target, finding["path"]).out == f"x {secret}\n"


def test_history_masks_and_counts(cli: Cli, archive: Path) -> None:
    done = cli("history", archive)
    assert done.status == 0 and SECRET not in done.out
    assert "rm /secret.txt" in " ".join(done.out.split()) and max(map(len, done.out.splitlines())) <= 80


def test_an_error_is_one_line_without_memory_for_its_masking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(_: str) -> None:
        raise MemoryError

    monkeypatch.setattr("auditor.cli.messages.warn", exhausted)
    with pytest.raises(SystemExit) as ended:
        main(["scan", "missing.tar"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "image-audit: system: out of memory\n"
