"""Baselines: silenced findings, expiry, kept reasons, and no secrets in the file."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditor.findings.baseline import load_baseline
from tests.conftest import Cli, Result
from tests.images import Built, image, layer, step, token, whiteout

OLD, NEW = token(71), token(72)
PASSWORD = "".join(("correct", "-Horse", "7battery"))  # the form of a password, made here
TODAY = datetime.datetime.now(datetime.UTC).date()


def first(*names: str) -> Built:
    """A build with a hidden secret, a visible one, and one in its metadata."""
    return image(
        layer({"etc/os-release": "ID=planted\n"}),
        layer({"app/.env": f"GITHUB_TOKEN={OLD}\n", "secret.txt": f"{OLD}\n", "db.env": f"DB_PASSWORD={PASSWORD}\n"}),
        layer({"x": "x\n"}, whiteout("secret.txt")),
        history=[step("ADD rootfs"), step(f"RUN echo {OLD} > /secret.txt"), step("RUN rm /secret.txt")],
        config={"Env": ["PATH=/bin", f"GITHUB_TOKEN={OLD}"]},
        names=names or ("team/app:1",),
    )


def rebuilt(*names: str, more: str = "") -> Built:
    """The next build of it: other bytes and digests, a layer, a step, a variable and a line more, before the secret."""
    return image(
        layer({"etc/os-release": "ID=planted\nVERSION_ID=2\n"}),
        layer({"opt/new": "new\n"}),
        layer(
            {
                "app/.env": f"# a new line\nA=b\nGITHUB_TOKEN={OLD}\n{more}",
                "secret.txt": f"\n{OLD}\n",
                "db.env": f"\nDB_PASSWORD={PASSWORD}\n",
            }
        ),
        layer({"x": "y\n"}, whiteout("secret.txt")),
        history=[
            step("ADD rootfs"), step("RUN new"), step("ENV A=b", empty=True),
            step(f"RUN echo {OLD} > /secret.txt"), step("RUN rm /secret.txt"),
        ],
        config={"Env": ["PATH=/bin", "A=b", f"GITHUB_TOKEN={OLD}"]},
        names=names or ("team/app:2",),
    )  # fmt: skip


class Work:
    """Two builds as archives, and the baseline of the first."""

    def __init__(self, cli: Cli) -> None:
        self.cli, self.file = cli, cli.folder / "known.yaml"
        self.one = first().docker_archive(cli.folder / "one.tar")
        self.two = rebuilt().docker_archive(cli.folder / "two.tar")
        self.written = cli("scan", self.one, "--write-baseline", self.file, "-q")

    def scan(self, target: Path, *options: object) -> Result:
        return self.cli("scan", target, "--format", "json", "--baseline", self.file, *options)

    @property
    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = yaml.safe_load(self.file.read_text())["findings"]
        return found

    def change(self, number: int, **values: Any) -> str:
        """Edit an entry by hand; return its id."""
        document = yaml.safe_load(self.file.read_text())
        document["findings"][number] |= values
        self.file.write_text(yaml.safe_dump(document))
        return str(document["findings"][number]["id"])


@pytest.fixture
def work(cli: Cli) -> Work:
    return Work(cli)


def test_it_silences_the_next_build_and_not_a_new_secret_in_it(work: Work) -> None:
    assert (work.written.status, work.written.err) == (1, "")
    done = work.scan(work.two)
    assert (done.status, done.json["findings"], done.err) == (0, [], "")
    assert done.json["ignored"]["baseline"] == len(work.entries) == 5
    more = rebuilt(more=f"OTHER={NEW}\n").docker_archive(work.cli.folder / "three.tar")
    (finding,) = work.scan(more).json["findings"]
    assert (finding["path"], finding["line"], finding["rule"]) == ("/app/.env", 4, "github-pat")
    assert work.scan(more).status == 1


def test_it_is_sorted_by_place_and_gives_nothing_away(work: Work) -> None:
    places = [entry.get("path") or entry["where"] for entry in work.entries]
    assert places == sorted(places) and "/secret.txt" in places and "config.Env[1]" in places
    text = work.file.read_text()
    assert "&id" not in text and "*id" not in text
    for secret in (OLD, PASSWORD):
        assert secret not in text and secret[-4:] not in text
    shown = {key for entry in work.entries for key in entry}
    assert shown == {"id", "rule", "path", "where", "state", "images", "added", "reason", "expires"}
    assert all(re.fullmatch(r"[0-9a-f]{16}(-\d+)?", entry["id"]) for entry in work.entries)
    assert {tuple(entry["images"]) for entry in work.entries} == {("team/app",)}


def test_the_table_counts_ignored_findings(work: Work) -> None:
    done = work.cli("scan", work.two, "--baseline", work.file)
    assert "5 more ignored (5 by baseline)." in " ".join(done.out.split())


def test_an_expired_entry_is_reported_and_silences_no_finding(work: Work) -> None:
    last_day = work.change(0, expires=TODAY)
    assert work.scan(work.one).json["findings"] == []
    work.change(0, expires=TODAY - datetime.timedelta(days=1))
    done = work.scan(work.one)
    assert (done.status, [f["id"] for f in done.json["findings"]]) == (1, [last_day])
    assert done.json["baseline"] == {"file": str(work.file), "expired": [last_day], "vanished": []}
    assert done.err.startswith(f"image-audit: {work.file}: expired, findings shown: {last_day}.")


def test_an_entry_with_a_vanished_finding_is_reported(work: Work) -> None:
    clean = image(layer({"a": "b"}), names=("team/app:3",)).docker_archive(work.cli.folder / "clean.tar")
    done = work.scan(clean)
    assert done.status == 0 and len(done.json["baseline"]["vanished"]) == 5
    assert "finding no longer in the image: " in done.err and "and 2 more." in done.err
    other = image(layer({"a": "b"}), names=("team/other:1",)).docker_archive(work.cli.folder / "other.tar")
    assert work.scan(other).json["baseline"]["vanished"] == []


def test_a_finding_that_is_not_shown_has_not_vanished(work: Work) -> None:
    for options in (("--state", "present"), ("--min-confidence", "high"), ("--rule", "github-pat")):
        assert work.scan(work.one, *options).json["baseline"]["vanished"] == [], options


def test_an_update_keeps_reasons_drops_vanished_and_adds_new_findings(work: Work) -> None:
    later = TODAY + datetime.timedelta(days=9)
    kept = work.change(0, reason="of the tests", expires=later, added=datetime.date(2026, 1, 2))
    fewer = image(
        layer({"app/.env": f"\nGITHUB_TOKEN={OLD}\nOTHER={NEW}\n"}), names=("team/app:3",)
    ).docker_archive(work.cli.folder / "fewer.tar")  # fmt: skip
    done = work.cli("scan", fewer, "--write-baseline", work.file)
    assert f"{work.file}: 1 new, 1 kept, 4 dropped" in done.err
    assert [entry["path"] for entry in work.entries] == ["/app/.env"] * 2
    (entry,) = (entry for entry in work.entries if entry["id"] == kept)
    assert (entry["reason"], entry["expires"], str(entry["added"])) == ("of the tests", later, "2026-01-02")
    assert work.scan(fewer).status == 0


def test_written_for_another_image_it_keeps_the_entries_of_the_first(work: Work) -> None:
    other = image(layer({"b.env": f"TOKEN={NEW}\n"}), names=("team/other:1",)).docker_archive(work.cli.folder / "o.tar")
    work.cli("scan", other, "--write-baseline", work.file)
    assert len(work.entries) == 6
    assert work.scan(work.one).status == work.scan(other).status == 0


def test_one_written_from_another_takes_its_reasons_over(work: Work) -> None:
    work.change(0, reason="of the tests")
    copy = work.cli.folder / "copy.yaml"
    work.scan(work.one, "--write-baseline", copy)
    entries = yaml.safe_load(copy.read_text())["findings"]
    assert len(entries) == 5 and [entry["reason"] for entry in entries].count("of the tests") == 1


def test_a_baseline_of_the_config_may_be_written_for_the_first_time(cli: Cli) -> None:
    (cli.folder / ".image-audit.yaml").write_text("baseline: known.yaml\n")
    target = first().docker_archive(cli.folder / "one.tar")
    missing = cli("scan", target)
    assert missing.status == 2 and "known.yaml: can't be read: No such file" in missing.err
    assert cli("scan", target, "--write-baseline", "known.yaml").status == 1
    assert cli("scan", target).status == 0


def test_a_name_that_would_fool_the_reader_is_escaped(cli: Cli) -> None:
    target = image(layer({"a\u202e\x1b[31m.env": f"TOKEN={OLD}\n"})).docker_archive(cli.folder / "a.tar")
    cli("scan", target, "--write-baseline", "b.yaml")
    text = (cli.folder / "b.yaml").read_text()
    assert "\u202e" not in text and "\x1b" not in text and "u202e" in text
    assert cli("scan", target, "--baseline", "b.yaml").status == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c\n", "known.yaml:1: not YAML"),
        ("findings: []", "known.yaml:1: not a baseline: the key `schema: image-audit-baseline/1` is missing"),
        ("[]", "known.yaml:1: expected a mapping of keys"),
        ("schema: image-audit-baseline/1\nfindings:\n- id: a\n", "known.yaml:3: findings[0]: 'rule' is missing"),
        (
            "schema: image-audit-baseline/1\nfindings:\n- id: a\n  rule: b\n  expire: 2026-01-01\n",
            "known.yaml:5: findings[0]: unknown key 'expire'; ",
        ),
        (
            "schema: image-audit-baseline/1\nfindings:\n- {id: a, rule: b, expires: soon}\n",
            "known.yaml:3: findings[0].expires: expected a date such as 2026-12-31",
        ),
        (
            "schema: image-audit-baseline/1\nfindings:\n- {id: a, rule: b}\n- {id: a, rule: b}\n",
            "known.yaml:4: findings[1]: the id a is repeated",
        ),
    ],
)
def test_a_mistake_in_it_is_one_line_with_its_place(cli: Cli, text: str, message: str) -> None:
    target = first().docker_archive(cli.folder / "one.tar")
    (cli.folder / "known.yaml").write_text(text)
    for options in (("scan", target, "--baseline", "known.yaml"), ("baseline", "audit", "known.yaml")):
        done = cli(*options)
        assert done.status == 2 and message in done.err and len(done.err.splitlines()) == 1, done.err


class TestAudit:
    def test_each_answer_is_kept_at_once(self, work: Work) -> None:
        before = [entry["id"] for entry in work.entries]
        answers = b"reason\nof the tests\ne\n2026-12-31\nk\nd\nx\ne\nsoon\ne\n10\nq\n"
        done = work.cli("baseline", "audit", work.file, stdin=answers)
        assert done.status == 0 and "4 left, 1 dropped, 3 without a reason" in done.out
        assert "'x' is not one of the answers" in done.out and "'soon' is neither a date" in done.out
        one, two, *_ = work.entries
        assert [entry["id"] for entry in work.entries] == [before[0], *before[2:]]
        assert (one["reason"], str(one["expires"])) == ("of the tests", "2026-12-31")
        assert two["expires"] == TODAY + datetime.timedelta(days=10)
        assert work.file.read_text().startswith("# Accepted findings")

    def test_the_end_of_the_input_quits_and_back_goes_back(self, work: Work) -> None:
        before = work.entries
        done = work.cli("baseline", "audit", work.file, stdin=b"k\nb\nr\n")
        assert done.status == 0 and done.out.count("2 of 5") == 1 and "5 left, 0 dropped" in done.out
        assert work.entries == before


def test_an_entry_with_path_and_place_keeps_both(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    entry = '{id: abc, rule: x, path: /a, where: "config.Env[2]", state: metadata, images: []}'
    path.write_text(f"schema: image-audit-baseline/1\nfindings:\n- {entry}\n")
    found = load_baseline(path)
    found.save()
    assert load_baseline(path).entries == found.entries
