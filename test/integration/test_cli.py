"""The command line: help, versions, exit codes, and flags from three places."""

import json
import os
import re
import subprocess

import pytest

from workspace import PROGRAM


def run(*arguments, **environment):
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=30, env={**os.environ, **environment}
    )


def test_version_and_help_of_every_command():
    assert re.fullmatch(r"sluice \d+\.\d+\.\d+\n", run("version").stdout)
    for arguments in (["--help"], ["run", "--help"], ["transform", "--help"], ["version", "--help"], ["-h"],
                      ["run", "-h"], ["transform", "-h"], ["help"], ["help", "run"], ["help", "transform"]):
        done = run(*arguments)
        assert done.returncode == 0 and done.stdout.startswith("Usage: sluice")


USAGE = [
    ([], "Usage: sluice"),
    (["frobnicate"], "unknown command 'frobnicate'"),
    (["run"], "no PATH given"),
    (["run", "--frob", "x"], "unknown flag '--frob'"),
    (["run", "--log-level", "loud", "."], "--log-level: found 'loud'; accepted: debug, info or error"),
    (["run", "--log-encoding"], "--log-encoding: needs a value: json or console"),
    (["run", "--http-timeout", "5 s", "."], "--http-timeout: found '5 s'; accepted: a duration such as 30s"),
    (["run", "--storage-backend", "tape", "."], "--storage-backend: found 'tape'; accepted: file, pvc"),
    (["run", "--once", "/no/such/path"], "/no/such/path: No such file or directory"),
    (["run", "--secret", "x", "."], "--secret: found a setting without '='; accepted: NS/NAME.KEY=env:VARIABLE"),
    (["version", "now"], "unexpected argument 'now'"),
    (["help", "frobnicate"], "found 'frobnicate'; accepted: one command"),
    (["run", "--storage-backend"], "--storage-backend: needs a value: file, pvc (the same) or memory"),
    (["transform", "-x"], "sluice transform: unknown option '-x'; see sluice transform --help"),
    (["transform", "--frob"], "sluice transform: unknown option '--frob'"),
    (["transform", "x.lua", "--timeout"], "sluice transform: --timeout needs a value"),
]


@pytest.mark.parametrize("arguments, message", USAGE, ids=[message for _, message in USAGE])
def test_bad_usage_is_exit_2_and_says_what_is_accepted(tmp_path, arguments, message):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


CONFIGURATIONS = [
    ("frob: 1", "config.yaml: unknown key 'frob'; keys are named like the flags of --help"),
    ("log-level: loud", "config.yaml: log-level: found 'loud'; accepted: debug, info or error"),
    ("concurrent: {a: 1}", "config.yaml: concurrent: accepted: a whole number of at least 1"),
    ("- once", "config.yaml: accepted: a mapping of flags' names"),
    ("once: [", "config.yaml: line 2 column 1: "),
]


@pytest.mark.parametrize("text, message", CONFIGURATIONS, ids=[text for text, _ in CONFIGURATIONS])
def test_a_mistake_in_the_configuration_file_is_bad_usage(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    done = subprocess.run(
        [PROGRAM, "run", "--config", "config.yaml", "."], capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"sluice run: {message}")


def test_a_variable_with_a_mistake_is_named(tmp_path):
    done = run("run", str(tmp_path), STORAGE_BACKEND="tape")
    assert done.returncode == 2
    assert done.stderr == "sluice run: $STORAGE_BACKEND: found 'tape'; accepted: file, pvc (the same) or memory\n"


def test_flags_win_over_the_environment_and_that_over_the_file(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    config = workspace.path / "config.yaml"
    config.write_text("http-user-agent: file\nlog-level: debug\n")

    def agent(*flags, **env):
        workspace.once("--config", str(config), *flags, env=env)
        return upstream.asked[-1].headers["user-agent"]

    assert agent() == "file"
    assert agent(HTTP_USER_AGENT="environment") == "environment"
    assert agent("--http-user-agent", "flag", HTTP_USER_AGENT="environment") == "flag"


def test_a_secret_may_come_from_the_environment_or_a_file(workspace, upstream):
    token = workspace.path / "token"
    token.write_text("from-file")
    workspace.source("app", upstream.answer("/a", b"x"), config={"headersSecretRef": {"name": "s"}})
    outcome = workspace.once(
        "--secret", "default/s.X-One=env:MY_TOKEN", "--secret", f"default/s.X-Two=file:{token}",
        env={"MY_TOKEN": "from-env"},
    )
    assert outcome.code == 0
    headers = upstream.asked[0].headers
    assert (headers["x-one"], headers["x-two"]) == ("from-env", "from-file")
    assert workspace.mentions("from-env") == []


def test_logs_have_the_keys_of_fluxs_controllers(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    outcome = workspace.once()
    line = [log for log in outcome.logs if log["msg"] == "reconciliation succeeded"][0]
    assert {"level", "ts", "msg", "controller", "namespace", "name", "reconcileID"} <= set(line)
    assert json.loads(outcome.err.splitlines()[0])


def test_console_logs_are_for_people(workspace, upstream):
    workspace.source("app", upstream.answer("/a", b"x"))
    outcome = workspace.once("--log-encoding", "console")
    assert "INFO  reconciliation succeeded default/app revision=" in outcome.err
