"""--verify: one request a secret, to its provider alone, and nothing of the secret anywhere else."""

from __future__ import annotations

import email.utils
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from auditor.core.errors import BlockedAddress, RuleError
from auditor.core.finding import Confidence, Finding, Severity, State
from auditor.core.secret import Secret
from auditor.core.yaml_file import YamlValue
from auditor.detect.probe import parse_probe
from auditor.detect.rules import Rule, builtin_rules, load_file
from auditor.registry.address_guard import check_loopback, check_public
from auditor.report.schema import report_schema
from auditor.verify import Verifier, verified
from auditor.verify.filled_request import fill_request
from tests.conftest import Cli
from tests.images import image, layer, token, whiteout
from tests.verify.provider import Provider, provider
from tests.verify.tls import tls_server


@pytest.fixture
def here() -> Iterator[Provider]:
    with provider() as made:
        yield made


def node(value: Any) -> YamlValue:
    """A value as it stands in a rule file."""
    composed = yaml.compose(yaml.safe_dump(value))
    assert composed
    return YamlValue(composed, Path("own.yaml"), "verify")


def rule(verify: Any, name: str = "acme-token") -> Rule:
    return Rule(
        name, name, "acme", Severity.HIGH, Confidence.HIGH, "x", (), ("x",), ("y",),
        verify=parse_probe(node(verify)) if verify else None,
    )  # fmt: skip


def finding(secret: str, name: str = "acme-token", path: str = "/a") -> Finding:
    return Finding(
        "id", name, name, "acme", "rules", Severity.HIGH, Confidence.HIGH, State.PRESENT, path, None,
        Secret(secret, "****"), "s1",
    )  # fmt: skip


def verdict(verify: Any, secret: str = "acme-0123456789", **verifier: Any) -> str:
    (result,) = verified([finding(secret)], {"acme-token": rule(verify)}, Verifier(pause_s=0.01, **verifier))
    return str(result.verified)


def test_a_live_secret_is_active_a_dead_one_inactive_and_one_that_nobody_can_be_asked_about_unknown(
    here: Provider,
) -> None:
    here.live.add("live")
    rules = {"acme-token": rule(here.rule()), "generic-password": rule(None, "generic-password")}
    found = [finding("live"), finding("dead"), finding("hunter22", "generic-password"), finding("x", "no-such-rule")]
    result = verified(found, rules, Verifier())
    assert [item.verified for item in result] == ["active", "inactive", "unknown", "unknown"]
    assert len(here.requests) == 2


def test_a_secret_is_asked_about_once_however_often_it_is_found(here: Provider) -> None:
    verifier = Verifier()
    rules = {"acme-token": rule(here.rule()), "acme-twin": rule(here.rule(), "acme-twin")}
    found = [finding("dead", path=f"/{n}") for n in range(5)] + [finding("dead", "acme-twin")]
    for _ in range(2):
        assert {item.verified for item in verified(found, rules, verifier)} == {"inactive"}
    assert len(here.requests) == 1


def test_of_two_rules_that_ask_differently_the_one_that_gets_in_counts(here: Provider) -> None:
    here.live.add("live")
    rules = {"acme-token": rule(here.rule()), "acme-other": rule(here.rule("/user", headers={"X": "{secret}"}), "b")}
    result = verified([finding("live"), finding("live", "acme-other")], rules, Verifier())
    assert [item.verified for item in result] == ["active", "active"] and len(here.requests) == 2


def test_at_most_four_requests_are_under_way_at_once(here: Provider) -> None:
    found = [finding(f"secret-{n}") for n in range(12)]
    assert len(Verifier().verify(found, {"acme-token": rule(here.rule("/busy"))})) == 12
    assert 2 <= here.most <= 4


@pytest.mark.parametrize(
    ("active", "inactive", "want"),
    [
        ({"json": {"ok": True}}, {"json": {"errors.0.code": "revoked"}}, ("active", "inactive")),
        ({"json": {"count": True}}, {"json": {"errors.0.code": ["expired", "revoked"]}}, ("unknown", "inactive")),
        ({"json": {"ok.deeper": True}}, {"json": {"errors.7.code": "revoked"}}, ("unknown", "unknown")),
        ([{"status": 204}, {"status": 200, "json": {"ok": True}}], {"json": {"gone": None}}, ("active", "unknown")),
    ],
)
def test_a_field_of_the_answer_decides_where_the_status_says_nothing(
    active: Any, inactive: Any, want: tuple[str, str], here: Provider
) -> None:
    here.live.add("live")
    probe = here.rule("/same", active=active, inactive=inactive)
    assert (verdict(probe, "live"), verdict(probe, "dead")) == want


def test_a_redirect_is_not_followed(here: Provider) -> None:
    here.live.add("live")
    assert verdict(here.rule("/redirect"), "live") == "unknown"
    assert [path for _, path, _, _ in here.requests] == ["/redirect"]


def test_an_overloaded_provider_is_asked_a_second_time_and_not_a_third(here: Provider) -> None:
    here.failures = 1
    assert verdict(here.rule("/overloaded")) == "active" and len(here.requests) == 2
    assert verdict(here.rule("/unwell")) == "unknown" and len(here.requests) == 4


@pytest.mark.parametrize("later", ["3600", email.utils.formatdate(4e9, usegmt=True)], ids=["seconds", "date"])
def test_a_provider_that_wants_to_be_asked_much_later_is_not_asked_again(here: Provider, later: str) -> None:
    here.later = later
    assert verdict(here.rule("/later")) == "unknown" and len(here.requests) == 1


@pytest.mark.parametrize("path", ["/silent", "/drip"])
def test_a_provider_that_stalls_or_drips_is_left_in_time(path: str, here: Provider) -> None:
    begun = time.monotonic()
    assert verdict(here.rule(path, active={"json": {"ok": True}}), timeout_s=0.4) == "unknown"
    assert time.monotonic() - begun < 3 and len(here.requests) == 1


def test_an_endless_answer_is_read_to_a_bound_and_not_at_all_where_the_status_is_enough(here: Provider) -> None:
    begun = time.monotonic()
    assert verdict(here.rule("/endless", active={"json": {"ok": True}})) == "unknown"
    assert verdict(here.rule("/endless")) == "active"
    assert time.monotonic() - begun < 3


def test_what_is_no_http_and_a_port_where_nobody_listens_leave_it_unknown(here: Provider) -> None:
    assert verdict(here.rule("/garbage")) == "unknown"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert verdict(here.rule(url=f"http://127.0.0.1:{free.getsockname()[1]}/")) == "unknown"


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "a\x00b", "pass\u00e9\u2603", " a", ""])
def test_a_secret_that_could_break_out_of_a_header_is_not_sent(secret: str, here: Provider) -> None:
    assert verdict(here.rule(), secret) == "unknown" and here.requests == []


def test_placeholders_are_filled_as_their_place_demands(here: Provider) -> None:
    nasty = 'a/b?c#d&e="f\\ {secret}'
    assert verdict(here.rule("/x/{secret}/y?t={secret}", headers={}), nasty) == "active"
    assert verdict(here.rule("/x", headers={"A": "{secret_base64}"}, basic="u:{secret}"), nasty) == "active"
    assert verdict(here.rule("/x", method="POST", form={"t": "{secret}"}), nasty) == "active"
    assert verdict(here.rule("/x", method="POST", body={"t": ["{secret}", "{ a }"]}, headers={}), nasty) == "active"
    (_, path, _, _), (_, _, headers, _), (_, _, _, form), (method, _, json_headers, body) = here.requests
    quoted = "a%2Fb%3Fc%23d%26e%3D%22f%5C%20%7Bsecret%7D"
    assert path == f"/x/{quoted}/y?t={quoted}"
    assert headers["A"] == "YS9iP2MjZCZlPSJmXCB7c2VjcmV0fQ=="
    assert headers["Authorization"] == "Basic dTphL2I/YyNkJmU9ImZcIHtzZWNyZXR9"
    assert form == b"t=a%2Fb%3Fc%23d%26e%3D%22f%5C+%7Bsecret%7D"
    assert yaml.safe_load(body) == {"t": [nasty, "{ a }"]}
    assert (method, json_headers["Content-Type"]) == ("POST", "application/json")


def test_neither_proxies_nor_netrc_take_part(here: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with provider() as proxy:
        for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address)
        assert verdict(here.rule("/x", headers={"X-Key": "{secret}"})) == "active"
        assert proxy.requests == []
    ((_, _, headers, _),) = here.requests
    assert "Authorization" not in headers and "Cookie" not in headers


PRIVATE = ["10.0.0.1", "192.168.1.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
           "127.0.0.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_the_network_is_refused(address: str) -> None:
    with pytest.raises(BlockedAddress):
        check_public("host.example", [address])
    check_public("host.example", ["93.184.216.34"])


def test_a_public_name_that_leads_inside_is_refused(here: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(here.address.rpartition(":")[2])
    inside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    outside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [outside, inside])
    probe = {"url": f"https://api.example.com:{port}/", "headers": {"A": "{secret}"}, "active": {"status": 200}}
    assert verdict(probe) == "unknown" and here.requests == []


def test_localhost_that_leads_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [outside])
    assert verdict({"url": "http://localhost/", "headers": {"A": "{secret}"}, "active": {"status": 200}}) == "unknown"
    with pytest.raises(BlockedAddress):
        check_loopback("localhost", ["93.184.216.34"])


def test_a_certificate_that_nobody_vouches_for_gets_no_secret(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (port, received):
        probe = {"url": f"https://localhost:{port}/", "headers": {"A": "{secret}"}, "active": {"status": 200}}
        assert verdict(probe, timeout_s=3) == "unknown"
    assert received == []


def test_over_tls_with_a_certificate_that_is_vouched_for_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server(tmp_path) as (port, received):
        context = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        monkeypatch.setattr("auditor.verify.provider_request.provider_context", lambda: context)
        probe = {"url": f"https://localhost:{port}/", "headers": {"A": "{secret}"}, "active": {"status": 200}}
        assert verdict(probe, timeout_s=3) == "active"
    assert len(received) == 1


def test_no_secret_is_logged_raised_or_kept_in_an_error(
    here: Provider, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "acme-very-secret-0123"
    with caplog.at_level(logging.DEBUG):
        for path in ("/user", "/garbage", "/silent", "/endless", f"/{{secret}}/{secret}"):
            verdict(here.rule(path), secret, timeout_s=0.3)
        verdict(here.rule(), f"{secret}\r\nX: 1")
    assert secret not in caplog.text and secret not in "".join(capfd.readouterr())
    sent = fill_request(rule(here.rule()).verify or pytest.fail("no probe"), Secret(secret, "****"))
    assert secret not in repr(sent) and secret not in repr(Verifier())


MALFORMED: list[tuple[Any, str]] = [
    ("x", "acme-token.verify: "),
    ({"uri": "x"}, "uri"),
    ({"url": None}, "url is missing"),
    ({"url": "https://a b/"}, "verify.url: expected printable ASCII"),
    ({"url": "http://api.example.com/"}, "expected https://"),
    ({"url": "http://127.0.0.1.example.com/"}, "expected https://"),
    ({"url": "ftp://api.example.com/"}, "expected https://"),
    ({"url": "https://{secret}.example.com/"}, "contains no placeholder"),
    ({"url": "https:///x"}, "expected a URL with a host"),
    ({"url": "https://a:99999/"}, "Port out of range"),
    ({"url": "https://u:p@a/"}, "contains a login; use basic"),
    ({"url": "https://a/#{secret}"}, "contains a fragment"),
    ({"method": "DELETE"}, "acme-token.verify.method: "),
    ({"form": {"a": "b"}}, "a GET request has no form"),
    ({"method": "POST", "form": {"a": "b"}, "body": {}}, "exclude each other"),
    ({"method": "POST", "form": {"a": 1}}, "acme-token.verify.form.a: "),
    ({"method": "POST", "body": "x"}, "verify.body: expected a mapping"),
    ({"headers": ["a"]}, "acme-token.verify.headers: "),
    ({"headers": {"Host": "{secret}"}}, "'Host' can't be set"),
    ({"headers": {"A\r\nB": "{secret}"}}, "can't be set"),
    ({"headers": {"A": "{secret}\r\nB: c"}}, "printable ASCII on one line"),
    ({"headers": {"A": "{secrt}"}}, "unknown placeholder {secrt}"),
    ({"headers": {"A": "b"}}, "does not contain {secret}"),
    ({"basic": "{secret}"}, "verify.basic: expected user:password"),
    ({"basic": "{secret}:"}, "remove it from headers"),
    ({"active": None}, "active is missing"),
    ({"inactive": []}, "verify.inactive: expected a condition"),
    ({"active": {}}, "an empty condition holds"),
    ({"active": {"code": 200}}, "code"),
    ({"active": {"status": "200"}}, "100 to 599"),
    ({"active": {"status": [True]}}, "100 to 599"),
    ({"active": {"json": {"a": {"b": 1}}}}, "verify.active.json: a: expected a text"),
]


@pytest.mark.parametrize(("change", "want"), MALFORMED)
def test_a_malformed_request_says_what_is_wrong_and_where(change: Any, want: str, tmp_path: Path) -> None:
    valid = {"url": "https://api.example.com/", "headers": {"Authorization": "{secret}"}, "active": {"status": 200}}
    value = valid | change if isinstance(change, dict) else change
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump([own_rule() | {"verify": value}]))
    with pytest.raises(RuleError, match=r"own\.yaml:\d+: acme-token\.verify") as caught:
        load_file(path)
    assert want in str(caught.value)


def test_the_rules_that_ship_ask_public_https_addresses_only() -> None:
    probes = {one.id: one.verify for one in builtin_rules() if one.verify}
    assert len(probes) >= 25
    for name, probe in probes.items():
        sent = fill_request(probe, Secret("0123456789abcdef", "****"))
        assert sent and sent.secure and not sent.is_loopback and sent.port == 443 and "." in sent.host, name
        in_url = "0123456789abcdef" in sent.path
        assert in_url == (name == "telegram-bot-token"), name


def own_rule() -> dict[str, Any]:
    return {
        "id": "acme-token",
        "name": "Acme token",
        "provider": "acme",
        "severity": "high",
        "confidence": "high",
        "pattern": r"acme_[0-9A-Za-z]{32}\b",
        "keywords": ["acme_"],
        "examples": ["T=acme_{base62:32}"],
        "counterexamples": ["T=acme_{base62:31}"],
    }


def test_the_command_line_asks_under_verify_only_and_every_report_says_the_answer(
    cli: Cli, here: Provider, tmp_path: Path
) -> None:
    live, dead = token(1, "acme_{base62:32}"), token(2, "acme_{base62:32}")
    here.live.add(live)
    built = image(layer({"a": f"T={live}\n", "b": f"T={dead}\n", "c": f"T={dead}\n"}), layer(whiteout("a")))
    archive = built.docker_archive(tmp_path / "image.tar")
    rules = tmp_path / "own.yaml"
    rules.write_text(yaml.safe_dump([own_rule() | {"verify": here.rule()}]))
    scan = ("scan", str(archive), "--rules", rules, "--rule", "acme-token")

    silent = cli(*scan, "--format", "json")
    assert {item["verified"] for item in silent.json["findings"]} == {None} and here.requests == []

    asked = cli(*scan, "--format", "json", "--verify", "-v", "-o", "report.html")
    jsonschema.validate(asked.json, report_schema())
    assert {item["path"]: item["verified"] for item in asked.json["findings"]} == {
        "/a": "active", "/b": "inactive", "/c": "inactive",
    }  # fmt: skip
    assert (asked.status, len(here.requests)) == (1, 2)
    table = cli(*scan, "--verify").out
    page = (cli.folder / "report.html").read_text()
    assert "verified: active" in table and "verified: inactive" in table and "verified: <b>active</b>" in page
    for text in (asked.out, asked.err, table, page):
        assert live not in text and dead not in text
