"""`--format template`: values, escaping, the sandbox, errors with their line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.core.errors import UsageError
from auditor.pipeline import Audit
from auditor.report import template, template_process
from auditor.scan import Scanner
from tests.conftest import Cli
from tests.report.samples import hostile, one
from tests.report.test_report import OPTIONS, audited


@pytest.fixture
def shown(tmp_path: Path, scanner: Scanner) -> Audit:
    return audited(one()[0], tmp_path, scanner)


def rendered(audit: Audit, folder: Path, text: str, name: str = "own.txt") -> str:
    path = folder / name
    path.write_text(text)
    return template.render([audit], replace(OPTIONS, template=path))


def test_a_template_has_the_values_of_the_json_report(shown: Audit, tmp_path: Path) -> None:
    text = "{{ reports[0].verdict.places|plural('place') }} {{ 1234|size }} {{ failed|length }} {{ created }}\n"
    assert rendered(shown, tmp_path, text) == "1 place 1.23 kB 0 2026-11-24T05:00:00Z\n"


@pytest.mark.parametrize(("name", "escaped"), [("a.html", True), ("a.xml.j2", True), ("a.txt", False)])
def test_markup_is_escaped_by_the_name_of_the_template(
    tmp_path: Path, scanner: Scanner, name: str, escaped: bool
) -> None:
    audit = audited(hostile()[0], tmp_path, scanner)
    text = rendered(audit, tmp_path, "{{ reports[0].findings|map(attribute='path')|join(' ') }}", name)
    assert ("<script>" in text) != escaped and "\x1b" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{% if %}", r"own\.txt:2: "),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "is unsafe|undefined"),
        ("{{ reports.append(1) }}", "unsafe|not safely callable"),
        ("{{ 1 // 0 }}", "own.txt: integer division or modulo by zero"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "unsafe|undefined"),
        ("{{ '{0.__class__}'.format(1) }}", "unsafe"),
        ("{{ 'x' * 10 ** 11 }}", "takes more than 2 GiB of memory"),
        ("{% include '/etc/passwd' %}", "no loader"),
    ],
)
def test_a_mistake_and_a_way_out_of_the_sandbox_are_one_line(
    shown: Audit, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        rendered(shown, tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_template_that_never_ends_is_stopped(shown: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_process, "_SECONDS", 0.3)
    numbers = "{% for number in range(99999) %}"
    with pytest.raises(UsageError, match=r"own.txt: takes more than 0.3 seconds"):
        rendered(shown, tmp_path, f"{numbers}{numbers}{{% endfor %}}{{% endfor %}}")


def test_the_command_takes_a_file_and_refuses_another_format(cli: Cli) -> None:
    one()[0].docker_archive(cli.folder / "a.tar")
    (cli.folder / "t.j2").write_text("{{ reports|length }} image\n")
    done = cli("scan", "a.tar", "--template", "t.j2", "-q")
    assert (done.status, done.out) == (1, "1 image\n")
    assert "needs --format template" in cli("scan", "a.tar", "--template", "t.j2", "--format", "json").err
    done = cli("scan", "a.tar", "--template", "none.j2")
    assert done.status == 2 and "'none.j2' does not exist" in done.err
