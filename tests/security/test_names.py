"""A token in any text of an image is found, and nothing that is written shows it whole."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from auditor.report.schema import report_schema
from tests.conftest import Cli, Result
from tests.fleet.planted import Remote
from tests.images import file, folder, image, layer, token, whiteout
from tests.security.canaries import leaks, written
from tests.security.planted import C, planted
from tests.security.planted import written as targets

FORMS = ("archive", "layout")
ONLY = {
    "archive": {"tag"},
    "layout": {
        "annotation", "key of an annotation", "key in an attestation", "attestation", "annotation of a descriptor",
        "key of a descriptor's annotation", "annotation of an index", "key of an index's annotation", "reference name",
    },
}  # fmt: skip
REPORTS = ("r.json", "r.html", "r.sarif", "r.md", "r.xml", "r.txt", "gl-secret-detection-report.json")
EVERYTHING = ["--min-confidence", "low", "--fail-on", "never"]


@pytest.mark.parametrize("form", FORMS)
def test_each_is_found(cli: Cli, form: str) -> None:
    target = targets(cli.folder)[form]
    done = cli("scan", target, "--format", "json", "--show-secrets", *EVERYTHING)
    assert done.status == 0, done.err
    jsonschema.validate(done.json, report_schema())
    found = {finding["secret"] for finding in done.json["findings"]}
    absent = set().union(*(ONLY[other] for other in FORMS if other != form))
    assert [place for place in C.tokens if C[place] not in found and place not in absent] == []


def commands(target: str, clean: str) -> list[list[str]]:
    reports = [word for report in REPORTS for word in ("-o", report)]
    return [
        ["scan", target, *reports, *EVERYTHING, "-v", "--write-baseline", "baseline.yaml"],
        ["scan", target, "--format", "json", *EVERYTHING],
        ["scan", target, "--baseline", "baseline.yaml"],
        ["scan", target, "none.tar", "--format", "json"],
        ["history", target],
        ["history", target, "--format", "json"],
        ["flatten", target, "-o", f"{clean}.1.oci", "--proof", "proof.json", "-v"],
        ["flatten", target, "-o", f"{clean}.2.oci", "--excise", "--proof", "proof2.json"],
        ["flatten", target, "-o", f"{clean}.3.oci", "--minimal", "--proof", "proof3.json"],
        ["recover", target, "/no/such"],
        ["recover", target, "/link"],
        ["recover", target, "/gone/ghp_****"],
        ["hook", "run"],
    ]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_that_is_written_shows_one_whole(cli: Cli, tmp_path: Path, form: str) -> None:
    target = targets(cli.folder)[form]
    (cli.folder / ".image-audit.yaml").write_text(f"images: ['{target}']\n")
    before = frozenset(path for path in cli.folder.rglob("*") if path.is_file())
    outs: list[tuple[str, bytes]] = []
    for number, command in enumerate(commands(target, str(tmp_path / "clean"))):
        done = cli(*command)
        assert "internal error" not in done.err and "Traceback" not in done.err, done.err
        outs.append((f"{command[:2]} {number}", done.raw + done.err.encode()))
    texts = [*outs, *written(cli.folder.parent, before | frozenset(tmp_path.glob("clean*")))]
    assert leaks(iter(texts), C.tokens) == []


def test_a_sweep_and_its_dashboard_show_none(cli: Cli, start_registry: Any) -> None:
    planted()  # so that the tokens are made
    address = start_registry()
    Remote(address).push("team/app", C["tag"], planted())
    for more in ([], ["--no-cache"]):
        done = cli(
            "registry", "scan", address, "--report", "site", "--format", "json", "--store", "sqlite:///s.sqlite", *more
        )
        assert done.status in (0, 1), done.err
    report = cli("registry", "report", "--store", "sqlite:///s.sqlite")
    texts = [("out", done.raw + done.err.encode()), ("report", report.raw + report.err.encode())]
    # By its tag a registry is asked for an image: the store and the pages name it.
    others = {name: value for name, value in C.tokens.items() if name != "tag"}
    assert leaks(iter([*texts, *written(cli.folder.parent, frozenset())]), others) == []


def findings(cli: Cli, target: object, *more: str) -> list[dict[str, Any]]:
    done = cli("scan", target, "--format", "json", "--fail-on", "never", *more)
    assert done.status == 0, done.err
    found: list[dict[str, Any]] = done.json["findings"]
    return found


def archive(cli: Cli, *layers: bytes) -> str:
    return str(image(*layers).docker_archive(cli.folder / "n.tar"))


def test_a_name_says_which_layer_holds_it_and_whether_it_is_hidden(cli: Cli) -> None:
    secret = token(9500)
    target = archive(cli, layer({f"a/{secret}": "x"}), layer({"b": "x"}), layer(whiteout(f"a/{secret}")))
    (found,) = findings(cli, target)
    masked = f"ghp_****{secret[-4:]}"
    assert (found["state"], found["path"]) == ("metadata", None)
    assert found["where"] == f'layers[0].entries["/a/{masked}"].name'
    assert (found["added_in"], found["added_by"]) == (0, "RUN step 0")
    assert (found["hidden_in"], found["hidden_by"]) == (2, "RUN step 2")
    assert "hidden in layer 2 by RUN step 2" in cli("scan", target).out


def test_a_folder_with_many_files_over_several_layers_is_one_finding(cli: Cli) -> None:
    secret = token(9501)
    below = {f"{secret}/{number}": "x" for number in range(50)}
    target = archive(cli, layer(folder(secret), below), layer(folder(secret), {f"{secret}/new": "x"}))
    (found,) = findings(cli, target)
    assert (found["added_in"], found["hidden_in"]) == (0, None)


def test_a_name_that_comes_back_is_two_findings(cli: Cli) -> None:
    secret = token(9502)
    again = layer({secret: "x"})
    found = findings(cli, archive(cli, again, layer(whiteout(secret)), layer({"x": "x"}), again))
    assert [(one["added_in"], one["hidden_in"]) for one in found] == [(0, 1), (3, None)]
    assert len({one["id"] for one in found}) == 2


def test_a_name_is_left_out_by_its_path(cli: Cli) -> None:
    target = archive(cli, layer({f"vendor/{token(9503)}": "x"}))
    assert len(findings(cli, target)) == 1
    assert findings(cli, target, "--exclude-path", "/vendor/**") == []


def test_flattening_removes_hidden_names_and_tells_of_the_visible_ones(cli: Cli) -> None:
    hidden, shown = token(9504), token(9505)
    target = archive(cli, layer({f"a/{hidden}": "x", f"b/{shown}": "x"}), layer(whiteout("a")))
    for way in ([], ["--excise"], ["--minimal"]):
        done = cli("flatten", target, "-o", "out.tar", "--force", "--proof", "proof.json", *way)
        assert done.status in (0, 1), done.err
        assert hidden.encode() not in (cli.folder / "out.tar").read_bytes()
        (proof,) = json.loads((cli.folder / "proof.json").read_text())["images"]
        assert len(proof["hidden_secrets"]["removed"]) == len(proof["remaining"]) == 1
        assert "/b/ghp_****" in proof["remaining"][0]["where"]


def recovered(cli: Cli, command: str) -> Result:
    program, *words = shlex.split(command)
    assert program == "image-audit"
    return cli(*words)


def test_a_file_whose_path_is_masked_is_recovered_by_the_command_of_the_report(cli: Cli) -> None:
    name, secrets = token(9506), [token(9507), token(9508), token(9509)]
    other = name[:4] + token(9510)[4:]
    target = archive(
        cli,
        layer({f"a/{other}": "no secret", f"a/{name}": f"TOKEN={secrets[0]}\n"}),
        layer(file(f"a/{name}", f"TOKEN={secrets[1]}\n"), file(f"a/{name}", f"TOKEN={secrets[2]}\n")),
        layer(whiteout("a")),
    )
    found = [one for one in findings(cli, target, "--show-secrets") if one["path"]]
    assert len(found) == 3 and all(name not in json.dumps(one) for one in found)
    for one in found:
        done = recovered(cli, one["recover"])
        assert done.status == 0 and one["secret"] in done.out, (one["recover"], done.err)


def test_a_member_whose_name_is_masked_is_recovered_by_the_command_of_the_report(cli: Cli) -> None:
    from tests.images import gzipped

    name, secret = token(9511), token(9512)
    inner = gzipped(layer({f"in/{name}.env": f"TOKEN={secret}\n", "in/other": "x"}))
    target = archive(cli, layer({"n.tgz": inner}))
    shown = {one["secret"]: one for one in findings(cli, target, "--show-secrets")}
    assert set(shown) == {name, secret}, "the name of the member is found too"
    assert name not in json.dumps(shown[secret])
    done = recovered(cli, shown[secret]["recover"])
    assert done.status == 0 and secret in done.out


def test_what_is_kept_of_layers_is_used_again_but_where_a_name_is_a_secret(cli: Cli) -> None:
    secret = token(9513)
    plain, named = (
        archive(cli, layer({"a": token(9514)})),
        str(image(layer({secret: "x"})).docker_archive(cli.folder / "s")),
    )
    assert findings(cli, plain) == findings(cli, plain) and findings(cli, named) == findings(cli, named)
    kept = list(written(Path(cli.environment["XDG_CACHE_HOME"]), frozenset()))
    assert leaks(iter(kept), {"name": secret}) == []


def test_an_image_of_many_files_costs_a_search_of_some_blocks(ruleset: Any, cache: Path) -> None:
    from auditor.layers.listing import Listing
    from auditor.layers.path_list import PathList
    from auditor.scan.searcher import Searcher

    listing = Listing(PathList(f"usr/share/doc/package-{number}/changelog.gz" for number in range(100_000)))
    searcher, searched = Searcher(ruleset, cache), list[int]()
    own = searcher._matcher.hits
    searcher._matcher.hits = lambda block, text=None: searched.append(len(block)) or own(block, text)  # type: ignore
    assert list(searcher.search_headers(listing)) == []
    assert len(searched) <= 30 and sum(searched) <= 6_000_000


def test_logins_in_urls_are_masked_wherever_they_are_told(cli: Cli) -> None:
    archive(cli, layer({"a": "x"}))
    password = "pl4in-Passw0rd"
    address = f"http://reader:{password}@127.0.0.1:1"
    lines = [
        ["scan", address], ["scan", f"{address}/team/app:1"], ["scan", f"docker://reader:{password}@127.0.0.1:1/x"],
        ["scan", f"reader:{password}@127.0.0.1:1/x"], ["scan", "n.tar", address], ["scan", "n.tar", "--base", address],
        ["history", address], ["recover", address, "/x"], ["flatten", "n.tar", "--push", address],
        ["flatten", address, "-o", "x.tar"], ["flatten", "n.tar", "-t", f"reader:{password}@host/x:1"],
        ["registry", "scan", address], ["registry", "scan", f"reader:{password}@127.0.0.1:1"],
        ["registry", "scan", "127.0.0.1:1", "--store", f"postgresql://reader:{password}@127.0.0.1:1/x"],
        ["registry", "scan", "127.0.0.1:1", "--store", f"nosuch://reader:{password}@127.0.0.1:1/x"],
        ["registry", "scan", "127.0.0.1:1", "--engine", "dask", "--scheduler", f"tcp://reader:{password}@127.0.0.1:1"],
        ["registry", "scan", "127.0.0.1:1", "--scheduler", f"nosuch://reader:{password}@127.0.0.1:1"],
        ["registry", "scan", "127.0.0.1:1", "--notify", f"nosuch://reader:{password}@127.0.0.1:1"],
        ["registry", "scan", "127.0.0.1:1", "--base", address],
    ]  # fmt: skip
    for line in lines:
        done = cli(*line)
        assert done.status == 2 and password not in done.err + done.out, (line, done.err)
    for variable in ("DOCKER_HOST", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        done = cli(
            "scan", "docker-daemon:x", "docker://registry.invalid/x:1", **{variable: f"http://r:{password}@127.0.0.1:1"}
        )
        assert done.status == 2 and password not in done.err + done.out, (variable, done.err)
