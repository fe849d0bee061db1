"""HTTP servers that stand on loopback where a cluster's other parts would: artifacts to fetch, webhooks to call."""

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading


class Server:
    """An HTTP server on a free loopback port, in a thread, from __enter__ to __exit__."""

    handler = None

    def __init__(self):
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.http.daemon_threads = True
        self.http.owner = self
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


class ArtifactHandler(Handler):
    def do_GET(self):
        body = self.server.owner.artifacts.get(self.path.lstrip("/"))
        self.answer(404 if body is None else 200, body or b"")


class ArtifactServer(Server):
    """Artifacts by path."""

    handler = ArtifactHandler

    def __init__(self):
        super().__init__()
        self.artifacts = {}

    def publish(self, name, files):
        """Packs {path: text} and serves it; returns the ExternalArtifact's status.artifact."""
        packed = pack(files)
        revision = hashlib.sha256(packed).hexdigest()
        path = f"artifacts/{name}/{revision}.tar.gz"
        self.artifacts[path] = packed
        return {
            "digest": f"sha256:{revision}",
            "lastUpdateTime": "2026-01-02T03:04:05Z",
            "path": path,
            "revision": f"latest@sha256:{revision}",
            "size": len(packed),
            "url": f"{self.url}/{path}",
        }


def pack(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), mtime=0)


class InboxHandler(Handler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.owner.messages.append(json.loads(body))
        self.answer(200)


class Inbox(Server):
    """Every JSON that was posted, in `messages`."""

    handler = InboxHandler

    def __init__(self):
        super().__init__()
        self.messages = []
