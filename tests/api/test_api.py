"""The Python API says what the command line says, and costs nothing before it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

import auditor
from auditor import AuditError, Report, Severity, State, audit
from auditor.api import audit as api
from auditor.core.errors import NotFound, UsageError
from auditor.core.options import CONFIDENCES, FAIL_ON
from auditor.report.formats import REPORT_FORMATS
from tests.conftest import Cli
from tests.images import image, layer, story

STORY, SECRET = story(71)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return STORY.docker_archive(tmp_path / "layer2.tar")


@pytest.fixture(autouse=True)
def alone(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config file, no cache of the user's."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(tmp_path)


def test_a_deleted_file_is_found_with_its_layers_and_what_to_do(archive: Path) -> None:
    report = audit(archive, states="deleted")
    (finding,) = report.findings
    assert (finding.path, finding.state, finding.added_in, finding.hidden_in) == ("/secret.txt", State.DELETED, 1, 2)
    assert finding.advice
    assert finding.recover == f"image-audit recover {archive} /secret.txt --layer 1"
    assert SECRET not in repr(report.findings)
    assert report.failed
    assert not report.skipped


def test_the_json_is_that_of_the_command_line(cli: Cli, archive: Path) -> None:
    printed = cli("scan", archive, "--format", "json", "--min-confidence", "low").json
    report = audit(str(archive), min_confidence="low")
    assert json.loads(report.to_json()) == report.to_dict() == {**printed, "created": report.created}


def test_several_targets_are_reported_in_their_order(archive: Path, tmp_path: Path) -> None:
    clean = image(layer({"a": "nothing here\n"}), names=("clean:1",)).docker_archive(tmp_path / "clean.tar")
    report = audit(clean, archive)
    assert [one.image.target for one in report.images] == [str(clean), str(archive)]
    assert not audit(clean).failed


def test_options_select_as_those_of_the_command_line_do(archive: Path) -> None:
    def rules(report: Report) -> set[str]:
        return {finding.rule for finding in report.findings}

    assert rules(audit(archive)) == {"github-pat"}
    assert not rules(audit(archive, only_rules="private-key"))
    assert not rules(audit(archive, exclude_rules=["github-pat"]))
    assert {f.path for f in audit(archive, exclude_paths="/secret.txt").findings} == {None}
    assert not audit(archive, fail_on="never").failed


def test_secrets_are_whole_only_where_that_was_asked_for(archive: Path) -> None:
    assert audit(archive, show_secrets=True).findings[0].secret.reveal() == SECRET
    with pytest.raises(ValueError, match="text of the secret was removed"):
        audit(archive).findings[0].secret.reveal()


def test_a_config_file_holds_and_an_option_wins_over_it(archive: Path, tmp_path: Path) -> None:
    (tmp_path / ".image-audit.yaml").write_text("fail_on: never\nexclude: {paths: [/secret.txt]}\n")
    report = audit(archive)
    assert not report.failed
    assert {finding.path for finding in report.findings} == {None}
    assert audit(archive, fail_on="high").failed


def test_what_is_over_is_told_in_the_notes(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("ignore: [{rule: github-pat, expires: 2020-01-01}]\n")
    (note,) = audit(archive, config="config.yaml").notes
    assert note.startswith("config.yaml:1: expired on 2020-01-01; its findings are shown.")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_confidence": "certain"}, "min_confidence 'certain': expected one of high, medium, low"),
        ({"fail_on": "always"}, "fail_on 'always': expected one of critical, high, medium, low, never"),
        ({"states": ["gone"]}, "states 'gone': expected one of deleted, overwritten, present, metadata"),
        ({"only_rules": ["github-pad"]}, "unknown rule 'github-pad'; did you mean 'github-pat'?"),
    ],
)
def test_a_wrong_value_is_told_with_the_right_ones(options: auditor.Options, text: str, archive: Path) -> None:
    with pytest.raises(AuditError) as caught:
        audit(archive, **options)
    assert str(caught.value).startswith(text)


def test_errors_are_those_of_the_tree(archive: Path) -> None:
    with pytest.raises(NotFound):
        audit(f"docker-archive:{archive}:no-such-tag")
    with pytest.raises(UsageError, match="format 'pdf': expected one of table, json"):
        audit(archive).render("pdf")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no option 'confidence'; its options are platform, base"):
        audit(archive, confidence="low")  # type: ignore[call-arg]


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, auditor; print([name for name in sys.modules if name.startswith('auditor.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "['auditor.core', 'auditor.core.version']\n"


def test_every_name_of_the_package_is_there_and_typed() -> None:
    assert set(auditor.__all__) <= set(dir(auditor))
    assert all(getattr(auditor, name) for name in auditor.__all__)
    assert (Path(auditor.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'scan_everything'"):
        _ = auditor.scan_everything


def test_the_docs_name_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert all(f"`{name}`" in page for name in auditor.Options.__annotations__)


def test_a_list_of_targets_counts_as_its_items(archive: Path, tmp_path: Path) -> None:
    clean = image(layer({"a": "nothing here\n"}), names=("clean:1",)).docker_archive(tmp_path / "clean.tar")
    report = audit([clean, archive])
    assert [one.image.target for one in report.images] == [str(clean), str(archive)]


@pytest.mark.parametrize("targets", [(), ([],)])
def test_no_target_is_an_error(targets: tuple[list[str], ...]) -> None:
    with pytest.raises(UsageError, match="audit\\(\\) needs a target"):
        audit(*targets)


def test_secrets_are_findings_by_secret_with_the_counts_of_the_report(archive: Path) -> None:
    report = audit(archive)
    (secret,) = report.secrets
    assert isinstance(secret, auditor.SecretGroup) and secret.findings == report.findings
    assert (secret.severity, secret.is_recoverable, secret.is_visible) == ("critical", True, True)
    assert report.to_dict()["verdict"]["secrets"] == 1


def test_words_of_options_are_those_of_the_tables() -> None:
    for alias, words in (
        (api.FailOn, FAIL_ON), (api.ConfidenceName, CONFIDENCES), (api.StateName, tuple(State)),
        (api.FormatName, tuple(REPORT_FORMATS)),
    ):  # fmt: skip
        literal = next((part for part in get_args(alias) if get_origin(part) is Literal), alias)
        assert get_args(literal) == words


def test_a_type_checker_refuses_other_words(archive: Path) -> None:
    """The comments are errors of mypy where it does not refuse the line (warn_unused_ignores)."""
    with pytest.raises(UsageError, match="fail_on 'hi'"):
        audit(archive, fail_on="hi")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="states 'gone'"):
        audit(archive, states="gone")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="format 'pdf'"):
        audit(archive).render("pdf")  # type: ignore[arg-type]
    assert not audit(archive, fail_on=Severity.CRITICAL, states=[State.PRESENT]).failed
