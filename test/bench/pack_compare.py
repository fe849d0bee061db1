"""Runs both packers in turns, checks that both made the same file, and compares medians of time."""

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile

RATIO = 8.0
PEAK_KIB = 48 * 1024


def run(program, source, output):
    answer = subprocess.run([program, source, output], check=True, capture_output=True, text=True)
    seconds, peak, size, revision, digest = answer.stdout.split()
    return {
        "seconds": float(seconds),
        "peak": int(peak),
        "size": int(size),
        "revision": revision,
        "digest": digest,
    }


def check(output, source, result):
    digest = subprocess.run(["sha256sum", output], check=True, capture_output=True, text=True)
    if digest.stdout.split()[0] != result["digest"]:
        sys.exit(f"{output}: the digest is wrong")
    with tarfile.open(output) as archive, open(source, "rb") as expected:
        content = archive.extractfile("data.json")
        while chunk := expected.read(1 << 20):
            if content.read(len(chunk)) != chunk:
                sys.exit(f"{output}: the content is wrong")
        if content.read(1):
            sys.exit(f"{output}: the content is too long")


def main(ours, peer, source, rounds):
    names = {"sluice": ours, "go": peer}
    results = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
        for _ in range(int(rounds)):
            for name, program in names.items():
                output = os.path.join(directory, name + ".tar.gz")
                results[name].append(run(program, source, output))
        for name in names:
            check(os.path.join(directory, name + ".tar.gz"), source, results[name][-1])

    megabytes = os.path.getsize(source) / 1e6
    median = {n: statistics.median(r["seconds"] for r in results[n]) for n in names}
    peak = {n: max(r["peak"] for r in results[n]) for n in names}
    print(f"pack {megabytes:.0f} MB of JSON, median of {rounds}")
    for n in names:
        size = results[n][-1]["size"] / 1e6
        print(
            f"  {n:7} {median[n]:7.3f} s  {megabytes / median[n]:7.1f} MB/s"
            f"  peak {peak[n] / 1024:5.1f} MiB  tar.gz {size:5.1f} MB"
        )
    ratio = median["go"] / median["sluice"]
    print(f"  ratio   {ratio:.1f} (at least {RATIO:.0f})")
    if ratio < RATIO:
        sys.exit("pack: too slow")
    if peak["sluice"] > PEAK_KIB:
        sys.exit("pack: too much memory")


main(*sys.argv[1:])
