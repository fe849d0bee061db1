"""Times `sluice controller` from its start to the last source's Ready against a bare client's four writes, and adds
up the memory of all its processes."""

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test/tools"))

from cluster import Cluster  # noqa: E402

RATIO_LIMIT = 2.5
SLOW_UPSTREAM_S = 2
SLOW_LIMIT_S = 6
MEMORY_LIMITS_MIB = {500: 24, 10000: 160}


class Bench:
    def __init__(self, cluster, program, peer, directory):
        self.cluster, self.program, self.peer, self.directory = cluster, program, peer, directory
        self.environment = os.environ | {
            "SERVER": cluster.server,
            "CA": str(cluster.ca_file),
            "CERT": str(cluster.directory / "admin.crt"),
            "KEY": str(cluster.directory / "admin.key"),
        }

    def run(self, *arguments):
        command = [self.peer, *map(str, arguments)]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def begin(self, *arguments):
        """Starts a part and returns it with its first line."""
        process = subprocess.Popen(
            [self.peer, *map(str, arguments)], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        return process, process.stdout.readline().strip()

    def bare(self, sources):
        self.run("create", sources, "http://127.0.0.1:1")
        seconds = float(self.run("bare", sources))
        self.run("delete")
        return seconds

    def start_controller(self):
        """With a cold start each time: no artifacts, no status. Waits for nothing."""
        storage = tempfile.mkdtemp(dir=self.directory)
        kubeconfig = self.cluster.kubeconfig("admin", "system:masters")
        return subprocess.Popen(
            [self.program, "controller", "--kubeconfig", kubeconfig, "--pod-namespace", "default", "--storage-path",
             storage, "--storage-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--health-addr", "0",
             "--log-level", "error"],
            stderr=open(pathlib.Path(storage) / "log", "w"),
        )  # fmt: skip

    def ours(self, sources, delay_s=0):
        """Seconds from the program's start to the last Ready, API writes before and after, requests, memory."""
        upstream, url = self.begin("upstream", f"{delay_s}s")
        self.run("create", sources, url)
        observer, _ = self.begin("observe", sources)
        writes = self.writes()
        begin = time.perf_counter()
        controller = self.start_controller()
        try:
            assert observer.stdout.readline().strip() == "ready"
            seconds = time.perf_counter() - begin
            time.sleep(5)  # for what was free to be given back
            with urllib.request.urlopen(url + "/requests") as answer:
                requests = int(answer.read())
            outcome = {
                "seconds": seconds,
                "requests": requests,
                "writes": {key: value - writes.get(key, 0) for key, value in self.writes().items()},
                "pss_mib": memory(controller.pid),
            }
        finally:
            controller.send_signal(signal.SIGTERM)
            controller.wait(30)
            upstream.kill()
            observer.kill()
            self.run("delete")
        return outcome

    def writes(self):
        """API writes so far by resource, without the lease's."""
        counts = {}
        for line in self.cluster.kubectl("get", "--raw", "/metrics").splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            labels = dict(part.split("=", 1) for part in line[line.index("{") + 1 : line.index("}")].split(","))
            labels = {key: value.strip('"') for key, value in labels.items()}
            if labels["verb"] in ("GET", "LIST", "WATCH") or labels["resource"] not in (
                "externalsources",
                "externalartifacts",
                "events",
            ):
                continue
            key = "/".join(filter(None, (labels["resource"], labels.get("subresource", ""))))
            counts[key] = counts.get(key, 0) + int(float(line.rsplit(" ", 1)[1]))
        return counts


def memory(pid):
    """PSS of the process and all below it, in MiB."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
    return own + sum(memory(child) for child in children)


def main():
    program, peer, sources, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    failed = False
    with tempfile.TemporaryDirectory() as directory, Cluster(pathlib.Path(directory) / "cluster") as cluster:
        bench = Bench(cluster, program, peer, directory)
        bench.bare(20)  # warms the API server
        bare, ours = [], []
        for _ in range(rounds):
            bare.append(bench.bare(sources))
            ours.append(bench.ours(sources))
            print(f"bare client {bare[-1]:.2f} s; sluice {json.dumps(ours[-1])}", flush=True)
        ratio = statistics.median(one["seconds"] for one in ours) / statistics.median(bare)
        pss = statistics.median(one["pss_mib"] for one in ours)
        print(f"{sources} sources Ready: {ratio:.2f} times the bare client (at most {RATIO_LIMIT})")
        print(f"memory of all processes: {pss:.1f} MiB PSS")
        limit = MEMORY_LIMITS_MIB.get(sources)
        failed |= ratio > RATIO_LIMIT or (limit is not None and pss > limit)
        failed |= any(one["requests"] != sources for one in ours)
        if sources <= 1000:
            slow = bench.ours(sources, SLOW_UPSTREAM_S)
            print(f"with an upstream of {SLOW_UPSTREAM_S} s: {slow['seconds']:.2f} s (at most {SLOW_LIMIT_S})")
            failed |= slow["seconds"] > SLOW_LIMIT_S
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
