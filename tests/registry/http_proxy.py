"""An HTTP proxy on loopback: forwards plain requests and CONNECT tunnels, and keeps where they led."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class HttpProxy:
    """Counts `tunnels` and `forwarded` requests by host and port; `logins` are the Proxy-Authorization headers.

    With `tls`, the proxy itself is reached by TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tunnels: list[str] = []
        self.forwarded: list[str] = []
        self.logins: list[str | None] = []
        self.refuses = False
        owner = self

        class Handler(_Handler):
            proxy = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: HttpProxy
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def do_CONNECT(self) -> None:
        self.close_connection = True
        self.proxy.tunnels.append(self.path)
        if self._is_refused():
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.flush()
            self._copy(self.connection, upstream)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.proxy.forwarded.append(url.netloc)
        if self._is_refused():
            return
        headers = {key: value for key, value in self.headers.items() if not key.lower().startswith(("proxy", "conn"))}
        upstream = http.client.HTTPConnection(url.netloc, timeout=10)
        upstream.request(self.command, url._replace(scheme="", netloc="").geturl(), headers=headers)
        with upstream.getresponse() as response:
            body = response.read()
            self.send_response_only(response.status)
            for key, value in response.getheaders():
                if key.lower() != "content-length":
                    self.send_header(key, value)
        upstream.close()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _is_refused(self) -> bool:
        self.proxy.logins.append(self.headers.get("Proxy-Authorization"))
        if self.proxy.refuses:
            self.send_response_only(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return self.proxy.refuses

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([one, other], [], [], 10)
            for source in ready:
                data = source.recv(1 << 16)
                if not data:
                    return
                (other if source is one else one).sendall(data)
            if not ready:
                return

    def log_message(self, *_: object) -> None:
        pass
