"""Writes 100 MB of JSON that looks like what an inventory API answers with; always the same bytes."""

import json
import os
import random
import sys

SIZE = 100_000_000
REGIONS = ["eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-southeast-2"]
TIERS = ["free", "standard", "premium", "enterprise"]
WORDS = (
    "service gateway billing ledger search index queue worker cache replica primary standby batch "
    "report export import session token account invoice catalog order shipment notify audit"
).split()


def record(rng, number):
    labels = {rng.choice(WORDS): rng.choice(WORDS) for _ in range(rng.randint(1, 5))}
    return {
        "id": f"{rng.getrandbits(128):032x}",
        "number": number,
        "name": "-".join(rng.choice(WORDS) for _ in range(3)) + f"-{rng.randint(1, 9999)}",
        "region": rng.choice(REGIONS),
        "tier": rng.choice(TIERS),
        "enabled": rng.random() < 0.8,
        "weight": round(rng.gauss(50, 20), 3),
        "createdAt": f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T"
        f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}Z",
        "addresses": [
            f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
            for _ in range(rng.randint(0, 3))
        ],
        "labels": labels,
        "description": " ".join(rng.choice(WORDS) for _ in range(rng.randint(4, 24))),
        "owner": None if rng.random() < 0.1 else {"team": rng.choice(WORDS), "level": rng.randint(1, 5)},
    }


def main(path):
    rng = random.Random(20240601)
    written = 0
    temporary = path + ".tmp"
    with open(temporary, "w", encoding="ascii") as output:
        output.write("[\n")
        while written < SIZE:
            line = json.dumps(record(rng, written)) + ",\n"
            output.write(line)
            written += len(line)
        output.write("null]\n")
    os.rename(temporary, path)


main(sys.argv[1])
