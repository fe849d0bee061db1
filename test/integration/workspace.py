"""A directory with manifests, in which `sluice run` runs as a person would run it."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SLUICE_PROGRAM", str(ROOT / "build" / "release" / "sluice"))
COLUMNS = ["NAMESPACE", "NAME", "READY", "REVISION", "AGE", "MESSAGE"]


def read_yaml(path):
    return yaml.safe_load(path.read_text()) if path.exists() else None


@dataclasses.dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def header(self):
        return self.out.splitlines()[0].split()

    @property
    def rows(self):
        """NAME -> row of the table."""
        rows = {}
        for line in self.out.splitlines()[1:]:
            row = dict(zip(COLUMNS, re.split(r"\s+", line, maxsplit=5)))
            rows[row["NAME"]] = row
        return rows

    @property
    def logs(self):
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


class Workspace:
    def __init__(self, path):
        self.path = path
        self.manifests = path / "manifests"
        self.data = path / "data"
        self.manifests.mkdir()
        self.running = []

    def write(self, name, text):
        path = self.manifests / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
        return path

    def source(self, name, url=None, hooks=None, config=None, generator=None, **spec):
        """Writes an ExternalSource. `hooks` are those after the request, or the whole field; `spec` overrides
        other fields."""
        fields = {"interval": "5m", "generator": generator or {"type": "http", "http": {"url": url, **(config or {})}}}
        if hooks:
            fields["hooks"] = hooks if isinstance(hooks, dict) else {"postRequest": hooks}
        fields.update(spec)
        manifest = {
            "apiVersion": "source.flux.oddkin.co/v1alpha1",
            "kind": "ExternalSource",
            "metadata": {"name": name},
            "spec": fields,
        }
        return self.write(f"{name}.yaml", manifest)

    def secret(self, name, **values):
        self.write(
            f"secret-{name}.yaml",
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values},
        )

    def once(self, *arguments, paths=None, env=None):
        command = [PROGRAM, "run", "--once", "--storage-path", str(self.data), *arguments]
        command += [str(path) for path in paths or [self.manifests]]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=self.path, env={**os.environ, **(env or {})}
        )
        assert "AddressSanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        assert done.returncode in (0, 1, 2), done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)

    def serve(self, *arguments):
        """Starts `sluice run`; returns the process and the addresses of its servers by name."""
        log = self.path / f"log-{len(self.running)}"
        command = [PROGRAM, "run", "--storage-path", str(self.data)]
        for server in ("storage", "metrics", "health"):
            command += [f"--{server}-addr", "127.0.0.1:0"]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, *arguments, str(self.manifests)], stderr=stderr, stdout=subprocess.DEVNULL, cwd=self.path
            )
        self.running.append(process)
        addresses = {}
        for _ in range(600):
            lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
            addresses = {line["server"]: line["address"] for line in lines if line["msg"] == "server listens"}
            if len(addresses) == 3:
                return process, addresses, log
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

    def status(self, name, namespace="default"):
        return read_yaml(self.data / "status" / namespace / f"{name}.yaml")

    def child(self, name, namespace="default"):
        return read_yaml(self.data / "externalartifacts" / namespace / f"{name}.yaml")

    def condition(self, name, kind="Ready"):
        for condition in self.status(name)["status"]["conditions"]:
            if condition["type"] == kind:
                return condition
        return None

    def artifact(self, name):
        """The path of the artifact that the ExternalArtifact names."""
        return self.data / self.child(name)["status"]["artifact"]["path"]

    def artifacts(self, name, namespace="default"):
        return sorted((self.data / "artifacts" / namespace / name).glob("*.tar.gz"))

    def mentions(self, text):
        """Files of the data directory that hold the text."""
        return [
            path for path in self.data.rglob("*") if path.is_file() and text.encode() in path.read_bytes()
        ]


def sha256(data):
    return hashlib.sha256(data).hexdigest()
