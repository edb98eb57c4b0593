"""Certificates of a host as docker, podman and containerd keep them; proxies. Against TLS servers on loopback."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from auditor.core.errors import BlockedAddress, Unreachable, UsageError
from auditor.registry import host_certificates, proxies, tls
from auditor.registry.client import Client
from auditor.registry.repository import Repository, repositories
from tests.conftest import free_port, require
from tests.registry.certificates import Certificates, make_certificates
from tests.registry.double import Answer, Asked, Double
from tests.registry.http_proxy import HttpProxy

Start = Callable[..., Double]
LogIn = Callable[..., None]
GiveName = Callable[[Double], Double]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those of another authority."""
    return make_certificates(tmp_path_factory.mktemp("others"))


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for /etc."""
    monkeypatch.setattr(host_certificates, "SYSTEM_FOLDER", tmp_path / "etc")
    return tmp_path / "etc"


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    server = HttpProxy()
    yield server
    server.close()


def stored(folder: Path, authority: Path | None = None, client: Certificates | None = None) -> Path:
    """Store certificates in a folder of a host, by Docker's names."""
    folder.mkdir(parents=True)
    if authority:
        shutil.copy(authority, folder / "ca.crt")
    if client:
        shutil.copy(client.folder / "client.pem", folder / "client.cert")
        shutil.copy(client.folder / "client.key", folder / "client.key")
    return folder


def catalog(double: Double, *, insecure: bool = False) -> list[str]:
    return list(repositories(Client(double.address, insecure=insecure)))


PLACES = ("config/containers", "config/docker", "etc/containers", "etc/docker", "etc/containerd")


class TestAuthority:
    @pytest.mark.parametrize("place", PLACES)
    def test_an_authority_of_the_host_is_trusted(
        self, start: Start, log_in: LogIn, certificates: Certificates, tmp_path: Path, place: str
    ) -> None:
        double = start(Double, certificates.server_context())
        log_in(double.address)
        stored(tmp_path / place / "certs.d" / double.address, certificates.authority)
        assert len(catalog(double)) == 3

    @pytest.mark.parametrize("place", PLACES)
    def test_another_authority_is_not(
        self, start: Start, certificates: Certificates, others: Certificates, tmp_path: Path, place: str
    ) -> None:
        double = start(Double, certificates.server_context())
        stored(tmp_path / place / "certs.d" / double.address, others.authority)
        with pytest.raises(Unreachable, match=r"certificate verify failed.*SSL_CERT_FILE"):
            catalog(double)

    def test_the_name_in_the_certificate_counts(
        self, start: Start, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tls, "is_loopback", lambda _: False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        double = start(Double, certificates.server_context())
        client = Client(f"localhost:{double.address.rpartition(':')[2]}")
        with pytest.raises(Unreachable, match=r"certificate verify failed: Hostname mismatch"):
            list(repositories(client))

    def test_the_folder_of_the_user_comes_first(
        self, start: Start, log_in: LogIn, certificates: Certificates, others: Certificates, tmp_path: Path
    ) -> None:
        double = start(Double, certificates.server_context())
        log_in(double.address)
        stored(tmp_path / "config/containers/certs.d" / double.address, certificates.authority)
        stored(tmp_path / "etc/docker/certs.d" / double.address, others.authority)
        assert len(catalog(double)) == 3

    def test_the_option_replaces_the_folder(
        self, start: Start, log_in: LogIn, certificates: Certificates, others: Certificates, tmp_path: Path
    ) -> None:
        double = start(Double, certificates.server_context())
        log_in(double.address)
        stored(tmp_path / "etc/docker/certs.d" / double.address, others.authority)
        assert len(list(repositories(Client(double.address, ca=certificates.authority)))) == 3

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    @pytest.mark.parametrize("right", [True, False])
    def test_the_variables_of_other_tools_apply(
        self, start: Start, log_in: LogIn, certificates: Certificates, others: Certificates,
        monkeypatch: pytest.MonkeyPatch, variable: str, *, right: bool,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(tls, "is_loopback", lambda _: False)
        double = start(Double, certificates.server_context())
        log_in(double.address)
        monkeypatch.setenv(variable, str((certificates if right else others).authority))
        if right:
            assert len(catalog(double)) == 3
        else:
            with pytest.raises(Unreachable, match="certificate verify failed"):
                catalog(double)

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_an_unreadable_file_of_a_variable_is_an_error_that_names_it(
        self, start: Start, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        content: str | None,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(tls, "is_loopback", lambda _: False)
        double, file = start(Double, certificates.server_context()), tmp_path / "authorities.pem"
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        if content is not None:
            file.write_text(content)
        with pytest.raises(UsageError, match=r"authorities\.pem: can't read these certificates: .*\.$") as caught:
            catalog(double)
        assert "\n" not in str(caught.value)

    def test_a_folder_of_a_variable_is_read(
        self, start: Start, log_in: LogIn, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        require(shutil.which("openssl") is not None, "openssl")
        monkeypatch.setattr(tls, "is_loopback", lambda _: False)
        double = start(Double, certificates.server_context())
        log_in(double.address)
        (tmp_path / "authorities").mkdir()
        shutil.copy(certificates.authority, tmp_path / "authorities/ca.pem")
        subprocess.run(["openssl", "rehash", tmp_path / "authorities"], check=True)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authorities"))
        assert len(catalog(double)) == 3

    def test_they_are_read_once_for_all_connections_to_a_host(
        self, start: Start, log_in: LogIn, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tls, "is_loopback", lambda _: False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        made, trust = list[str](), tls._trust
        monkeypatch.setattr(tls, "_trust", lambda context, place: made.append(place) or trust(context, place))  # type: ignore[func-returns-value]
        double = start(Double, certificates.server_context())
        log_in(double.address)
        repository = Repository(Client(double.address), "team/app")
        with ThreadPoolExecutor(4) as pool:
            assert len({tuple(tags) for tags in pool.map(lambda _: repository.tags(), range(8))}) == 1
        assert made == [str(certificates.authority)]


class TestClientCertificate:
    def test_it_is_presented_to_the_registry(
        self, start: Start, log_in: LogIn, certificates: Certificates, tmp_path: Path
    ) -> None:
        double = start(Double, certificates.server_context(ssl.CERT_REQUIRED))
        log_in(double.address)
        stored(tmp_path / "etc/docker/certs.d" / double.address, certificates.authority, certificates)
        assert len(catalog(double)) == 3
        assert set(double.peers) == {"client"}

    def test_on_loopback_it_needs_no_authority(
        self, start: Start, log_in: LogIn, certificates: Certificates, tmp_path: Path
    ) -> None:
        double = start(Double, certificates.server_context(ssl.CERT_REQUIRED))
        log_in(double.address)
        stored(tmp_path / "etc/docker/certs.d" / double.address, None, certificates)
        assert len(catalog(double)) == 3

    def test_without_it_the_error_names_the_folder(self, start: Start, certificates: Certificates) -> None:
        context = certificates.server_context(ssl.CERT_REQUIRED)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the refusal may be lost behind the first request
        double = start(Double, context)
        with pytest.raises(Unreachable, match=r"client\.key in /etc/docker/certs\.d/HOST"):
            catalog(double)

    @pytest.mark.parametrize("place", ["realm", "redirect"])
    def test_it_goes_to_no_other_host(
        self, start: Start, log_in: LogIn, certificates: Certificates, tmp_path: Path, place: str
    ) -> None:
        elsewhere = start(Double, certificates.server_context(ssl.CERT_OPTIONAL))

        class Leading(Double):
            def challenge(self, scope: str = "") -> str:
                text = f'Bearer realm="{elsewhere.origin}/token",service="double",scope="{scope}"'
                return text if place == "realm" else super().challenge(scope)

            def repository(self, asked: Asked, name: str) -> Answer:
                if place == "redirect":
                    return Answer(None, 307, {"Location": f"{elsewhere.origin}{asked.path}"})
                return super().repository(asked, name)

        double = start(Leading, certificates.server_context(ssl.CERT_REQUIRED))
        log_in(double.address)
        elsewhere.page = double.page = 10
        elsewhere.allows = lambda *_: True  # type: ignore[method-assign]
        stored(tmp_path / "etc/docker/certs.d" / double.address, certificates.authority, certificates)
        assert Repository(Client(double.address), "team/app").tags() == ["1", "2", "3"]
        assert set(double.peers) == {"client"} and set(elsewhere.peers) == {""}
        assert place == "realm" or not [asked for asked in elsewhere.asked if asked.login]


class TestContainerd:
    @pytest.mark.parametrize(
        "settings",
        [
            'ca = "ca.crt"\nclient = [["client.cert", "client.key"]]',
            '[host."https://{host}"]\nca = ["ca.crt"]\nclient = [["client.cert", "client.key"]]',
            'ca = "{folder}/ca.crt"\nclient = "both.pem"',
            'ca = "ca.crt"\nclient = ["both.pem"]',
        ],
    )
    def test_the_paths_of_its_settings_are_read(
        self, start: Start, log_in: LogIn, certificates: Certificates, system: Path, settings: str
    ) -> None:
        double = start(Double, certificates.server_context(ssl.CERT_REQUIRED))
        log_in(double.address)
        folder = system / "containerd/certs.d" / f"{double.address.replace(':', '_')}_"
        stored(folder, certificates.authority, certificates)
        (folder / "both.pem").write_bytes((folder / "client.cert").read_bytes() + (folder / "client.key").read_bytes())
        text = settings.replace("{host}", double.address).replace("{folder}", str(folder))
        (folder / "hosts.toml").write_text(text)
        assert len(catalog(double)) == 3

    def test_a_section_of_a_mirror_does_not_apply(self, system: Path) -> None:
        folder = stored(system / "containerd/certs.d/registry.example.com")
        (folder / "hosts.toml").write_text('[host."https://mirror.example.com"]\nca = "ca.crt"\n')
        assert host_certificates.find_certificates("registry.example.com").authorities == ()

    @pytest.mark.parametrize("text", ["ca = ", "\x00", "ca = [[[["])
    def test_damaged_settings_are_an_error(self, system: Path, text: str) -> None:
        folder = stored(system / "containerd/certs.d/registry.example.com")
        (folder / "hosts.toml").write_text(text)
        with pytest.raises(UsageError, match=r"hosts\.toml: can't read the settings"):
            Client("registry.example.com")


class TestDamagedFiles:
    @pytest.fixture
    def folder(self, system: Path, certificates: Certificates) -> Path:
        return stored(system / "docker/certs.d/registry.example.com", certificates.authority, certificates)

    def refusal(self) -> str:
        with pytest.raises(UsageError) as caught:
            Client("registry.example.com")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_key_is_missing(self, folder: Path) -> None:
        (folder / "client.key").unlink()
        assert "client.cert: the key of this client certificate is missing. Store it as client.key" in self.refusal()

    @pytest.mark.parametrize("name", ["ca.crt", "client.cert", "client.key"])
    def test_a_file_is_no_certificate(self, folder: Path, name: str) -> None:
        (folder / name).write_text("no certificate")
        assert f"{folder}/{'ca.crt' if name == 'ca.crt' else 'client.cert'}: can't read" in self.refusal()

    def test_a_key_is_encrypted(self, folder: Path, certificates: Certificates) -> None:
        key = serialization.load_pem_private_key((certificates.folder / "client.key").read_bytes(), None)
        locked = serialization.BestAvailableEncryption(b"passphrase")
        form = serialization.PrivateFormat.PKCS8
        (folder / "client.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
        assert "without a passphrase" in self.refusal()


class TestProxy:
    def test_plain_requests_pass_it(
        self, start: Start, log_in: LogIn, give_name: GiveName, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        double = give_name(start(Double))
        log_in(double.address)
        monkeypatch.setenv("HTTP_PROXY", f"http://user:open%20sesame@{proxy.address}")
        assert len(catalog(double, insecure=True)) == 3
        assert set(proxy.forwarded) == {double.address} and len(proxy.forwarded) == len(double.asked)
        assert all(login and login.startswith("Basic ") for login in proxy.logins)

    def test_tls_passes_it_in_a_tunnel_with_the_certificates_of_the_host(
        self, start: Start, log_in: LogIn, give_name: GiveName, certificates: Certificates, system: Path,
        proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        double = give_name(start(Double, certificates.server_context(ssl.CERT_REQUIRED)))
        log_in(double.address)
        stored(system / "docker/certs.d" / double.address, certificates.authority, certificates)
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        assert len(catalog(double)) == 3
        assert set(proxy.tunnels) == {double.address} and set(double.peers) == {"client"}

    @pytest.mark.parametrize(
        "url", ["http://", "::::", "ftp://127.0.0.1", "http://user:open-sesame@127.0.0.1:port", "open-sesame@"]
    )
    def test_a_malformed_url_is_an_error_without_the_login(
        self, start: Start, give_name: GiveName, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(Unreachable, match="the environment names a proxy whose URL is malformed") as caught:
            catalog(give_name(start(Double)))
        assert "open-sesame" not in str(caught.value)

    def test_it_is_reached_by_tls(
        self, start: Start, log_in: LogIn, give_name: GiveName, certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        proxy, double = HttpProxy(certificates.server_context()), start(Double, certificates.server_context())
        give_name(double)
        log_in(double.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        monkeypatch.setattr(tls, "is_loopback", lambda _: False)
        monkeypatch.setenv("HTTPS_PROXY", f"https://{proxy.address}")
        try:
            assert len(catalog(double)) == 3
        finally:
            proxy.close()
        assert set(proxy.tunnels) == {double.address}

    @pytest.mark.parametrize("names", ["registry.example.com", ".example.com", "*"])
    def test_it_is_bypassed_for_named_hosts(
        self, start: Start, log_in: LogIn, give_name: GiveName, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch,
        names: str,
    ) -> None:  # fmt: skip
        double = give_name(start(Double))
        log_in(double.address)
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("NO_PROXY", names)
        assert len(catalog(double, insecure=True)) == 3 and proxy.forwarded == []

    @pytest.mark.parametrize("names", ["10.1.2.3", "10.0.0.0/8"])
    def test_it_is_bypassed_for_addresses_and_networks(self, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
        monkeypatch.setenv("NO_PROXY", names)
        assert proxies.proxy_of("http://10.1.2.3:5000") is None
        assert proxies.proxy_of("http://192.168.1.1:5000") == "http://proxy.example.com:3128"

    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
    def test_loopback_is_reached_without_it(
        self, start: Start, log_in: LogIn, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        double = start(Double)
        log_in(double.address)
        monkeypatch.setenv(variable, f"http://{proxy.address}")
        assert len(catalog(double)) == 3 and proxy.forwarded == []

    @pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "127.9.9.9:5000", "[::1]:5000", "LOCALHOST."])
    def test_every_name_of_loopback_is_reached_without_it(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
        assert [proxies.proxy_of(f"{scheme}://{host}") for scheme in ("http", "https")] == [None, None]

    def test_its_refusal_is_one_line_without_the_login(
        self, start: Start, give_name: GiveName, certificates: Certificates, proxy: HttpProxy,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        double = give_name(start(Double, certificates.server_context()))
        proxy.refuses = True
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:open-sesame@{proxy.address}")
        with pytest.raises(Unreachable, match=r"407 .*login of the proxy") as caught:
            catalog(double)
        assert "open-sesame" not in str(caught.value)

    @pytest.mark.parametrize("insecure", [False, True])
    def test_one_that_does_not_answer_is_named_without_its_login(
        self, monkeypatch: pytest.MonkeyPatch, *, insecure: bool
    ) -> None:
        address = f"127.0.0.1:{free_port()}"
        for variable in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, f"http://user:open-sesame@{address}")
        message = f"^registry registry.example.com: the proxy http://{address} does not answer: Connection refused"
        with pytest.raises(Unreachable, match=message) as caught:
            Client("registry.example.com", insecure=insecure).ping()
        assert "open-sesame" not in str(caught.value) and "user" not in str(caught.value)

    @pytest.mark.parametrize(
        "place", ["http://169.254.169.254/", r"http://169.254.169.254\@{}/", "http://0xa9fea9fe/", "http://2852039166/"]
    )
    def test_a_redirect_to_metadata_does_not_pass_it(
        self, start: Start, log_in: LogIn, give_name: GiveName, proxy: HttpProxy, monkeypatch: pytest.MonkeyPatch,
        place: str,
    ) -> None:  # fmt: skip
        class Leading(Double):
            def repository(self, asked: Asked, name: str) -> Answer:
                return Answer(None, 307, {"Location": place.format(self.address)})

        double = give_name(start(Leading))
        log_in(double.address)
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        with pytest.raises(BlockedAddress, match=r"metadata or reserved|malformed URL"):
            Repository(Client(double.address, insecure=True), "team/app").tags()
        assert set(proxy.forwarded) == {double.address}
