"""A real upstream for tests: HTTP or HTTPS on loopback, scripted path by path, remembering what it was asked."""

import contextlib
import dataclasses
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable


@dataclasses.dataclass
class Answer:
    """What a path answers with. With `etag` or `last_modified` a request that has them gets 304."""

    body: bytes = b""
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    etag: str | None = None
    last_modified: str | None = None
    delay: float = 0.0
    meanwhile: Callable[[], None] | None = None  # runs while the client waits


@dataclasses.dataclass
class Asked:
    method: str
    path: str
    headers: dict
    status: int


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def fresh(self, answer):
        asked = {name.lower(): value for name, value in self.headers.items()}
        if answer.etag and asked.get("if-none-match") == answer.etag:
            return True
        return bool(answer.last_modified) and asked.get("if-modified-since") == answer.last_modified

    def do_GET(self):
        upstream = self.server.upstream
        answer = upstream.answers.get(self.path, Answer(b"not here", 404))
        status = 304 if self.fresh(answer) else answer.status
        headers = {name.lower(): value for name, value in self.headers.items()}
        upstream.asked.append(Asked(self.command, self.path, headers, status))
        time.sleep(answer.delay)
        if answer.meanwhile:
            answer.meanwhile()
        body = b"" if status == 304 else answer.body
        self.send_response(status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.etag:
            self.send_header("ETag", answer.etag)
        if answer.last_modified:
            self.send_header("Last-Modified", answer.last_modified)
        if "Content-Length" not in answer.headers and status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Or most of a hundred that connect at once wait for seconds in the kernel.
    request_queue_size = 1024

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections = set()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Clients that give up are part of the tests."""


class Upstream:
    def __init__(self, certificate=None, port=0):
        self.answers = {}
        self.asked = []
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.upstream = self
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path, *arguments, **fields):
        self.answers[path] = Answer(*arguments, **fields)
        return self.url + path

    def close(self):
        """Ends it, and its open connections. Upstream(port=...) may stand in its place."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
