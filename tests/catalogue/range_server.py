"""A web server for one folder, which knows ranges and can misbehave."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class RangeServer:
    """Serves ``contents`` by path on 127.0.0.1; `requests` lists what was asked for.

    Attributes:
        contents: Path to bytes.
        cut: Most bytes of one answer; the connection then breaks off. None: all.
        status: Answered instead of the file, if not 0.
        leads_to: Address that is answered instead of the file; empty: none.
        etag: Of all files.
        knows_ranges: Whether ranges are answered; else the whole file is sent.
        tells_length: Whether Content-Length is sent.
        content_type: Sent with every file.
        compares: Whether If-Range is looked at, as it must be.
        most: Most bytes of the answer to a range, which says so; None: all the rest.
    """

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.cut: int | None = None
        self.status = 0
        self.leads_to = ""
        self.etag = '"one"'
        self.knows_ranges = True
        self.tells_length = True
        self.content_type = "application/octet-stream"
        self.compares = True
        self.most: int | None = None
        self.requests: list[tuple[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *parts: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.requests.append((handler.path, asked))
        if self.leads_to:
            handler.send_response(302)
            handler.send_header("Location", self.leads_to)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if self.status or handler.path not in self.contents:
            handler.send_error(self.status or 404)
            return
        body = self.contents[handler.path]
        start, stop = 0, len(body)
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        is_same = handler.headers.get("If-Range", self.etag) == self.etag
        if match and self.knows_ranges and (is_same or not self.compares):
            start = int(match[1])
            if start >= len(body):
                handler.send_error(416)
                return
            stop = min(stop, start + (self.most or stop))
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Type", self.content_type)
        handler.send_header("ETag", self.etag)
        if self.tells_length:
            handler.send_header("Content-Length", str(stop - start))
        handler.end_headers()
        end = stop if self.cut is None else min(stop, start + self.cut)
        handler.wfile.write(body[start:end])
        handler.close_connection = True

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
