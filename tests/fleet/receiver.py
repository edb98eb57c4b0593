"""A webhook on loopback that records its messages."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Answers each POST with `status`, and with 422 if the document contains the text `unwanted`.

    `messages` are the JSON documents that it took, `refused` counts the rest.
    """

    def __init__(self) -> None:
        self.status = 200
        self.unwanted: str | None = None
        self.messages: list[dict[str, Any]] = []
        self.refused = 0
        self.paths: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                document = json.loads(text)
                status = 422 if owner.unwanted is not None and owner.unwanted in text else owner.status
                if status == 200:
                    owner.messages.append(document)
                    owner.paths.append(self.path)
                else:
                    owner.refused += 1
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
