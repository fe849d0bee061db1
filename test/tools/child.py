"""Processes that tests start, and what it takes to start one: a free port, a log, waiting until it answers.

A child dies with the process that started it, however that one ends: the kernel sends it SIGKILL (setpriv
sets this up in the child, so no Python code runs between fork and exec). The kernel means the *thread* that
started it, so start children from a thread that lives as long as they should: pytest's main one.
"""

import random
import signal
import socket
import subprocess
import time


def free_port():
    """A loopback port that nobody listens on, below those that the kernel hands to outgoing connections: these
    come and go by the hundred between components, and would take it before its server starts."""
    for _ in range(1000):
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on 127.0.0.1")


def wait_for(predicate, what=None, timeout=60, interval=0.1):
    """Calls `predicate` until it returns something true, and returns that. An AssertionError or OSError from it
    counts as "not yet". After `timeout` seconds: an AssertionError that says what was waited for, what the
    predicate last returned or raised."""
    what = what or getattr(predicate, "__name__", "a condition")
    deadline = time.monotonic() + timeout
    while True:
        try:
            last = predicate()
            if last:
                return last
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what}; last: {last!r}")
        time.sleep(interval)


class Child:
    """One running program; its output goes to `log`, appended, so that restarts keep it."""

    def __init__(self, name, command, log, env=None, cwd=None):
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
            )

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def wait_until(self, ready, timeout=60):
        """Waits until ready() is true; fails at once, with the end of the log, when the program ends."""

        def check():
            if not self.running():
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            return ready()

        try:
            wait_for(check, f"{self.name} to be ready", timeout)
        except AssertionError as error:
            raise RuntimeError(f"{error}\n{self.tail()}") from None

    def tail(self, lines=30):
        """The log's end."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def send(self, number):
        """Sends a signal: SIGSTOP and SIGCONT pause and resume."""
        self.process.send_signal(number)

    def stop(self, grace=10):
        """SIGTERM, and SIGKILL where that is not enough within `grace` seconds; returns the exit code."""
        if self.running():
            self.send(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self):
        """SIGKILL, and waits for the end."""
        if self.running():
            self.send(signal.SIGKILL)
        return self.process.wait()
