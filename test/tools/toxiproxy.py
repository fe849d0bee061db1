"""A client of toxiproxy: proxies between real components, and what is done to their connections."""

import contextlib
import http.client
import json

LOOPBACK = "127.0.0.1"


class Toxiproxy:
    """The server's API on a loopback port."""

    def __init__(self, port):
        self.port = port

    def proxy(self, name, upstream, scheme="http"):
        """A new proxy on a free port to `upstream` (HOST:PORT)."""
        answer = self.request("POST", "/proxies", {"name": name, "listen": f"{LOOPBACK}:0", "upstream": upstream})
        return Proxy(self, name, answer["listen"], scheme)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, content
            return json.loads(content) if content else None


class Proxy:
    """One proxy; `address` is HOST:PORT, `url` the same as a URL. As a context manager it deletes itself."""

    def __init__(self, server, name, address, scheme):
        self.server = server
        self.name = name
        self.address = address
        self.url = f"{scheme}://{address}"
        self.path = f"/proxies/{name}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.delete()

    def cut(self):
        """Closes all connections and refuses new ones, until restore()."""
        self.server.request("POST", self.path, {"enabled": False})

    def restore(self):
        """Accepts connections again, on the same port, and takes all toxics away."""
        self.server.request("POST", self.path, {"enabled": True})
        for toxic in self.server.request("GET", f"{self.path}/toxics"):
            self.server.request("DELETE", f"{self.path}/toxics/{toxic['name']}")

    def half_open(self):
        """Connections stay open and nothing passes in either direction, as when a peer vanishes."""
        for stream in ("upstream", "downstream"):
            self.toxic("timeout", stream, timeout=0)

    def toxic(self, kind, stream="downstream", **attributes):
        """Any of toxiproxy's: latency (latency, jitter: ms), bandwidth (rate: KB/s), slow_close (delay), timeout,
        reset_peer (timeout), slicer, limit_data (bytes)."""
        body = {"type": kind, "name": f"{kind}-{stream}", "stream": stream, "attributes": attributes}
        self.server.request("POST", f"{self.path}/toxics", body)

    def delete(self):
        self.server.request("DELETE", self.path)
