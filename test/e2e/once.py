"""`sluice run --once` over manifests, for comparison with what the cluster does."""

import os
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SLUICE_PROGRAM", str(ROOT / "build" / "release" / "sluice"))


def run_once(directory, manifests):
    """Runs it over YAML text or a list of objects; the sources as it left them, status and all, by name."""
    text = manifests if isinstance(manifests, str) else yaml.safe_dump_all(manifests)
    (directory / "manifests").mkdir()
    (directory / "manifests" / "all.yaml").write_text(text)
    command = [PROGRAM, "run", "--once", "--log-level=error", f"--storage-path={directory / 'data'}"]
    done = subprocess.run(
        [*command, directory / "manifests"], capture_output=True, text=True, timeout=120, cwd=directory
    )
    assert done.returncode in (0, 1) and "Sanitizer" not in done.stderr, done.stderr
    objects = [yaml.safe_load(path.read_text()) for path in (directory / "data" / "status").rglob("*.yaml")]
    return {found["metadata"]["name"]: found for found in objects}


def condition(found, kind):
    """The condition of that type, or None."""
    return next((one for one in found["status"]["conditions"] if one["type"] == kind), None)
