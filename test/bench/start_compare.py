"""Times `sluice run --once` of one local source against the Go peer, in turns."""

import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

LIMIT_MS = 60
ROOT = pathlib.Path(__file__).resolve().parents[2]

MANIFEST = """\
apiVersion: source.flux.oddkin.co/v1alpha1
kind: ExternalSource
metadata: {name: bench}
spec:
  interval: 5m
  generator:
    type: http
    http: {url: "%s"}
  hooks:
    postRequest:
      - name: pretty
        lua: |
          return function(data) return json.encode(json.decode(data), { indent = 2 }) end
"""


def run(command):
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    elapsed = (time.perf_counter() - begin) * 1000
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr.decode()}")
    return elapsed


def main():
    program, peer, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    upstream = subprocess.Popen(
        [sys.executable, ROOT / "test/tools/upstream.py", ROOT / "deploy/examples/quickstart/upstream"],
        stdout=subprocess.PIPE,
        text=True,
    )
    times = {"sluice run --once": [], "go (fetch and pack only)": []}
    try:
        url = upstream.stdout.readline().strip() + "/forecast.json"
        with tempfile.TemporaryDirectory() as work:
            manifest = pathlib.Path(work, "source.yaml")
            manifest.write_text(MANIFEST % url)
            for _ in range(rounds):
                data = pathlib.Path(work, "data")
                shutil.rmtree(data, ignore_errors=True)
                times["sluice run --once"].append(
                    run([program, "run", "--once", "--storage-path", str(data), str(manifest)])
                )
                out = pathlib.Path(work, "peer")
                shutil.rmtree(out, ignore_errors=True)
                times["go (fetch and pack only)"].append(run([peer, url, str(out)]))
    finally:
        upstream.kill()
        upstream.wait()
    for name, values in times.items():
        print(f"{name:26} {statistics.median(values):7.1f} ms (min {min(values):.1f}, max {max(values):.1f})")
    ours, theirs = (statistics.median(values) for values in times.values())
    print(f"ratio ours / peer: {ours / theirs:.2f}; median to hold: under {LIMIT_MS} ms")
    sys.exit(0 if ours < LIMIT_MS else 1)


if __name__ == "__main__":
    main()
