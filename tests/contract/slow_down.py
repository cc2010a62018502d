"""An HTTP server in front of another that answers SlowDown when it is told to."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

BODY = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>"


class SlowServer:
    """Pass requests on, but for the next so many, which are refused."""

    def __init__(self, behind: str) -> None:
        self.refused = 0
        self._left = 0
        self._answer = (503, "SlowDown")
        self._lock = threading.Lock()
        self._behind = urlsplit(behind)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                refusal = server.next()
                if refusal is None:
                    self._forward(body)
                else:
                    status, code = refusal
                    self._answer(status, {"Content-Type": "application/xml"}, BODY.format(code=code).encode())

            def _forward(self, body: bytes) -> None:
                link = http.client.HTTPConnection(
                    str(server._behind.hostname), server._behind.port, timeout=30
                )
                try:
                    link.request(self.command, self.path, body, dict(self.headers))
                    answer = link.getresponse()
                    held = answer.read()
                    kept = {name: value for name, value in answer.getheaders() if name.lower() not in DROPPED}
                    self._answer(answer.status, kept, held, answer.getheader("Content-Length"))
                finally:
                    link.close()

            def _answer(
                self, status: int, headers: dict[str, str], body: bytes, size: str | None = None
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", size or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815

            def log_message(self, *given: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def refuse(self, times: int, *, status: int = 503, code: str = "SlowDown") -> None:
        with self._lock:
            self._left, self._answer = times, (status, code)

    def next(self) -> tuple[int, str] | None:
        with self._lock:
            if not self._left:
                return None
            self._left -= 1
            self.refused += 1
            return self._answer

    def __enter__(self) -> SlowServer:
        self._thread.start()
        return self

    def __exit__(self, *given: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


#: what the handler says itself, or what holds for one link only
DROPPED = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})
