#!/usr/bin/env python3
"""A real HTTP and HTTPS server for tests, with upstreams' good and bad habits behind its paths.

    http_fixture.py DIRECTORY

Makes certificates in DIRECTORY, listens on free loopback ports, prints one line `NAME VALUE` for each
port and file and then `ready`, and serves until its standard input ends: it cannot outlive its test.
"""
import gzip
import http.server
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse


class Counts:
    """What the server saw, for GET /stats; /stats?reset begins anew."""

    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.connections = 0
        self.requests = 0
        self.parallel = 0
        self.most_parallel = 0


counts = Counts()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def setup(self):
        super().setup()
        with counts.lock:
            counts.connections += 1

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin_chunks(self, headers=()):
        self.send_response(200)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def drop(self):
        self.wfile.flush()
        self.close_connection = True

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = url.path.strip("/").split("/")[0]
        action = getattr(self, "path_" + name, None)
        if not action:
            self.answer(404, b"nothing here\n")
            return
        if name != "stats":
            with counts.lock:
                counts.requests += 1
                counts.parallel += 1
                counts.most_parallel = max(counts.most_parallel, counts.parallel)
        try:
            action(query, body)
        finally:
            if name != "stats":
                with counts.lock:
                    counts.parallel -= 1

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def path_stats(self, query, _):
        with counts.lock:
            text = f"{counts.connections} {counts.requests} {counts.most_parallel}"
            if "reset" in query:
                counts.reset()
        self.answer(200, text.encode())

    def path_ok(self, query, _):
        self.answer(200, b"hello\n", [("ETag", '"v1"'), ("X-Two", "a"), ("X-Two", "b")])

    def path_status(self, query, _):
        self.answer(int(query["code"]), b"status\n")

    def path_echo(self, _, body):
        lines = [f"{self.command} {self.path}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        self.answer(200, "\n".join(lines).encode() + b"\n\n" + body)

    def path_redirect(self, query, _):
        body = b"x" * int(query.get("body", 0))
        self.answer(int(query.get("code", 302)), body, [("Location", query["to"])])

    def path_loop(self, *_):
        self.answer(302, b"", [("Location", "/loop")])

    def path_gzip(self, query, _):
        body = gzip.compress(b"a" * int(query["size"]))
        self.answer(200, body, [("Content-Encoding", "gzip")])

    def path_chunked(self, query, _):
        self.begin_chunks()
        left = int(query["size"])
        while left > 0:
            self.chunk(b"c" * min(left, 65536))
            left -= 65536
        self.wfile.write(b"0\r\n\r\n")

    def path_unchunked(self, *_):
        self.begin_chunks()
        self.chunk(b"begun")
        self.drop()

    def path_short(self, *_):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"0123456789")
        self.drop()

    def path_silent(self, *_):
        self.drop()

    def path_garbage(self, *_):
        self.wfile.write(b"this is no HTTP\r\n\r\n")
        self.drop()

    def path_hang(self, query, _):
        if "begin" in query:
            self.begin_chunks()
            self.chunk(b"begun\n")
        # Until the client goes away.
        self.connection.settimeout(20)
        try:
            self.connection.recv(1)
        except OSError:
            pass
        self.close_connection = True

    def path_lines(self, query, _):
        self.begin_chunks()
        for number in range(int(query["count"])):
            self.chunk(b"line %d\n" % number)
        self.wfile.write(b"0\r\n\r\n")

    def path_slow(self, *_):
        time.sleep(0.02)
        self.answer(200, b"slow\n")

    def path_headers(self, query, _):
        value = "v" * int(query.get("size", 1))
        self.answer(200, b"", [(f"X-{i}", value) for i in range(int(query["count"]))])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate + ".pem", certificate + ".key")

    def finish_request(self, request, client_address):
        # The handshake belongs on the connection's thread, and its failure is the client's business.
        try:
            if self.tls:
                request = self.tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except OSError:
            pass

    def handle_error(self, *_):
        pass


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def make_authority(path):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=fixture authority", "-keyout", path + ".key",
            "-out", path + ".pem")


def make_certificate(path, authority, names, start, end):
    """A certificate valid from `start` to `end`, as `openssl ca` writes times."""
    with open(path + ".cnf", "w", encoding="ascii") as file:
        file.write("[ca]\ndefault_ca=it\n[it]\ndatabase={0}.index\n"
                   "rand_serial=yes\nnew_certs_dir={1}\npolicy=any\ndefault_md=sha256\nx509_extensions=names\n"
                   "[any]\ncommonName=supplied\n[names]\nsubjectAltName={2}\n"
                   .format(path, os.path.dirname(path), names))
    with open(path + ".index", "w", encoding="ascii"):
        pass
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=fixture", "-keyout", path + ".key", "-out", path + ".csr")
    openssl("ca", "-batch", "-notext", "-config", path + ".cnf", "-cert", authority + ".pem",
            "-keyfile", authority + ".key", "-startdate", start, "-enddate", end,
            "-in", path + ".csr", "-out", path + ".pem")


def main():
    directory = os.path.abspath(sys.argv[1])
    authority = os.path.join(directory, "ca")
    valid = ("20200101000000Z", "20490101000000Z")
    kinds = {
        "https": ("DNS:localhost,IP:127.0.0.1", *valid),
        "https_wrong_name": ("DNS:other.example", *valid),
        "https_expired": ("DNS:localhost,IP:127.0.0.1", "20200101000000Z", "20200201000000Z"),
    }
    make_authority(authority)
    servers = {"http": Server(), "http2nd": Server()}
    for name, (names, start, end) in kinds.items():
        path = os.path.join(directory, name)
        make_certificate(path, authority, names, start, end)
        servers[name] = Server(path)
    for name, server in servers.items():
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(name, server.server_address[1])
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


main()
