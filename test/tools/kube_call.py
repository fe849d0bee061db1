"""Drives build/…/kube_call, the Kubernetes client on a loop: requests in, outcomes out."""

import itertools
import json
import subprocess
import threading

WAIT_SECONDS = 60


class KubeCall:
    """One client in a process of its own, ended with the context. `log` is what it wrote to standard error."""

    def __init__(self, program, kubeconfig):
        self.numbers = itertools.count(1)
        self.outcomes = {}
        self.lines = {}
        self.raw = []
        self.log = ""
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [str(program), str(kubeconfig)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.readers = [threading.Thread(target=self._read_outcomes), threading.Thread(target=self._read_log)]
        for reader in self.readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        assert self.process.returncode == 0, self.log

    def close(self):
        """Ends its input, upon which it cancels what is in flight and ends."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(WAIT_SECONDS)
        finally:
            self.process.kill()
            for reader in self.readers:
                reader.join()

    @property
    def pid(self):
        return self.process.pid

    def send(self, method, path, body=None, **options):
        """Starts a request and returns its id; options: type, timeout, patience, unfenced."""
        if body is not None:
            options = {"type": "application/json", **options, "body": body}
        return self._start({"method": method, "path": path, **options})

    def watch(self, path, lines=0):
        return self._start({"watch": path, "lines": lines})

    def cancel(self, number):
        self._command({"cancel": number})

    def lead(self, leads):
        self._command({"lead": leads})

    def outcome(self, number):
        """Waits for the end of a request or watch."""
        return self._wait(lambda: self.outcomes.get(number), number)

    def first_lines(self, number, count):
        """Waits for so many lines of a watch."""
        return self._wait(lambda: self.lines.get(number, [])[:count] if len(self.lines.get(number, [])) >= count else None, number)

    def request(self, method, path, body=None, **options):
        return self.outcome(self.send(method, path, body, **options))

    def _start(self, command):
        number = str(next(self.numbers))
        self._command({"id": number, **command})
        return number

    def _command(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def _wait(self, found, number):
        with self.changed:
            assert self.changed.wait_for(lambda: found() is not None, WAIT_SECONDS), f"no outcome of {number}: {self.log}"
            return found()

    def _read_outcomes(self):
        for text in self.process.stdout:
            outcome = json.loads(text)
            with self.changed:
                self.raw.append(text)
                if "line" in outcome:
                    self.lines.setdefault(outcome["id"], []).append(outcome["line"])
                else:
                    assert outcome["id"] not in self.outcomes, outcome
                    self.outcomes[outcome["id"]] = outcome
                self.changed.notify_all()

    def _read_log(self):
        for text in self.process.stderr:
            self.log += text
