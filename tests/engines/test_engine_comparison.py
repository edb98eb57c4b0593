"""Comparison of input and output by the exports of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from auditor.core.errors import FlattenError
from auditor.detect.rules import Ruleset
from auditor.images import daemon
from auditor.rebuild import destinations
from auditor.rebuild.comparison import Comparison
from auditor.rebuild.engine_comparison import compare_in_engine
from auditor.rebuild.flatten import FlattenJob, flatten
from auditor.scan import Scanner
from tests.conftest import require
from tests.engines.docker import Engine, archive
from tests.engines.rawtar import Entry, tar
from tests.images import token

_BASE = (Entry(b"d", b"5", mode=0o755), Entry(b"d/a", data=b"one"), Entry(b"l", b"2", link=b"d"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        made = Engine()
        driver = made.driver()
    except docker.errors.DockerException:
        driver = ""
    require(bool(driver), "a Docker engine")
    yield made
    made.close()


OTHERS = {
    "content": (*_BASE[:1], Entry(b"d/a", data=b"two"), *_BASE[2:]),
    "mode": (*_BASE[:1], Entry(b"d/a", data=b"one", mode=0o600), *_BASE[2:]),
    "owner": (Entry(b"d", b"5", mode=0o755, uid=7), *_BASE[1:]),
    "time": (*_BASE[:1], Entry(b"d/a", data=b"one", mtime=5), *_BASE[2:]),
    "target": (*_BASE[:2], Entry(b"l", b"2", link=b"e")),
    "missing": _BASE[:2],
    "new": (*_BASE, Entry(b"n", data=b"x")),
    "kind": (*_BASE[:2], Entry(b"l", data=b"d")),
}


@pytest.mark.xdist_group("engine")
def test_every_difference_between_exports_is_found(engine: Engine) -> None:
    images = {"shown-base:1": [tar(*_BASE)], **{f"shown-{name}:1": [tar(*other)] for name, other in OTHERS.items()}}
    split = {"shown-split:1": [tar(_BASE[0], _BASE[2]), tar(*_BASE[:2])]}
    engine.load(archive({**images, **split}), [*images, *split])
    assert {name: compare_in_engine("shown-base:1", f"shown-{name}:1").count for name in OTHERS} == dict.fromkeys(
        OTHERS, 1
    )
    same = compare_in_engine("shown-base:1", "shown-split:1")
    assert (same.paths, same.count) == (compare_in_engine("shown-base:1", "shown-base:1").paths, 0)


@pytest.mark.xdist_group("engine")
def test_a_result_with_another_export_is_removed_from_the_engine(
    engine: Engine, ruleset: Ruleset, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Entry(b"s", data=f"token {token()}\n".encode())
    names = ["shown-in:1", "shown-out:1"]
    engine.load(archive({names[0]: [tar(*_BASE, secret), tar(Entry(b".wh.s"))]}), names)
    scanner, said = Scanner(ruleset, cache=cache), list[str]()
    try:
        job = FlattenJob(f"docker-daemon:{names[0]}", names=(names[1],))
        (done,) = flatten(job, scanner, tmp_path / "out.tar")
    finally:
        scanner.close()
    differs = Comparison(1, 0, 2, ["/d/a: differs in the engine's export of the output"])
    with monkeypatch.context() as patched:
        patched.setattr(destinations, "compare_in_engine", lambda *_: differs)
        with pytest.raises(FlattenError, match="/d/a: differs in the engine's export of the output, and 1 more"):
            destinations.to_engine(tmp_path / "out.tar", names[1], done, said.append)
    assert names[1] not in daemon.tags() and said == ["comparing the exports of the engine"]
    destinations.to_engine(tmp_path / "out.tar", names[1], done, said.append)
    assert names[1] in daemon.tags()
