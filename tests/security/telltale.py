"""A registry that says back what it was told: the login of whoever asks, in headers, errors and addresses."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Telltale:
    """Wants a login of the kind `scheme`, and answers it with `status`, telling it in every place there is."""

    def __init__(self, scheme: str, status: int) -> None:
        owner = self
        self.told: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login = self.headers.get("Authorization")
                if not login:
                    realm = f'Bearer realm="http://{owner.address}/token",service="s"'
                    self._say(401, {"WWW-Authenticate": realm if scheme == "bearer" else 'Basic realm="r"'}, "")
                    return
                owner.told.append(login)
                plain = base64.b64decode(login.partition(" ")[2]).decode()
                where = {"Location": f"http://{plain}@nowhere.invalid/{login}?{plain}"}
                self._say(status, where if 300 <= status < 400 else {}, f"{login} is {plain}")

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                self.do_GET()

            def _say(self, code: int, headers: dict[str, str], message: str) -> None:
                body = json.dumps({"errors": [{"code": message, "message": message}]}, ensure_ascii=False).encode()
                self.send_response(code, self.headers.get("Authorization"))
                for key, value in headers.items():
                    self.send_header(key, value.encode().decode("latin-1"))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
