"""A local HTTP server that stands for GitHub or a webhook: it keeps what it was sent, and answers by a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Heard:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    #: byte by byte
    raw: bytes = b""


@dataclass
class Listener:
    """What came, and what the next requests are answered: (status, JSON), or none for 201 and an id."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)

    def will(self, status: int, body: Any = None, **headers: str) -> None:
        self.answers.append((status, body, headers))

    @property
    def posts(self) -> list[tuple[str, Any]]:
        return [(one.path, one.body) for one in self.heard if one.method == "POST"]


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.heard.append(
                Heard(self.command, self.path, headers, json.loads(sent) if sent else None, sent)
            )
            status, body, more = listener.answers.pop(0) if listener.answers else (201, {"id": 4711}, {})
            told = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_POST = do_GET = answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    listener.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
