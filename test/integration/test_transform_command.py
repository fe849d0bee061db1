"""`sluice transform`: one script in the real sandbox, as a person uses it."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SLUICE_PROGRAM", str(ROOT / "build/release/sluice"))
SANITIZED = b"__asan_init" in pathlib.Path(PROGRAM).read_bytes() if os.path.exists(PROGRAM) else False


@pytest.fixture
def transform(tmp_path):
    """Runs a script's text; returns the completed process."""

    def run(script, *arguments, data=b"", file=None):
        path = tmp_path / "t.lua"
        path.write_bytes(script if isinstance(script, bytes) else script.encode())
        command = [PROGRAM, "transform", str(path), *([str(file)] if file else []), *arguments]
        return subprocess.run(command, input=data, capture_output=True, timeout=60, cwd=tmp_path)

    return run


def refusal(result, tmp_path):
    """The one line that says why, without the script's path."""
    assert result.returncode == 1
    assert result.stdout == b""
    lines = result.stderr.decode().splitlines()
    if SANITIZED:  # a child's own report comes before
        lines = lines[-1:]
    assert len(lines) == 1, lines
    return lines[0].replace(str(tmp_path / "t.lua"), "t.lua")


def test_stdin_becomes_stdout(transform):
    result = transform("return function(data) return data:upper() end", data=b"abc\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"ABC\n", b"")


def test_a_file_is_read(transform, tmp_path):
    (tmp_path / "in.json").write_text('{"b": [], "a": 12345678901234567890}')
    result = transform("return function(d) return yaml.encode(json.decode(d)) end", file=tmp_path / "in.json")
    assert result.stdout == b"a: 12345678901234567890\nb: []\n"


def test_env_reaches_the_script(transform):
    result = transform("return function(d, ctx) return json.encode(ctx.env) end", "--env", "A=1", "--env", "B=x=y z")
    assert json.loads(result.stdout) == {"A": "1", "B": "x=y z"}


def test_many_files_are_printed_after_their_paths(transform):
    result = transform('return function() return { ["b/c"] = "two\\n", a = "one" } end')
    assert result.stdout == b"# a\none\n# b/c\ntwo\n"


def test_many_files_are_written_below_the_output_directory(transform, tmp_path):
    result = transform('return function() return { ["b/c"] = "two", a = "one" } end', "--output", "out/new")
    assert (result.returncode, result.stdout) == (0, b"")
    assert (tmp_path / "out/new/a").read_text() == "one"
    assert (tmp_path / "out/new/b/c").read_text() == "two"


def test_a_single_result_is_written_as_data(transform, tmp_path):
    assert transform("return function() return 'x' end", "--output", "out").returncode == 0
    assert (tmp_path / "out/data").read_text() == "x"


def test_symbolic_links_in_the_output_directory_lead_nowhere(transform, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    out = tmp_path / "out"
    out.mkdir()
    (out / "dir").symlink_to(outside)
    (out / "file").symlink_to(outside / "file")
    result = transform('return function() return { ["dir/x"] = "bad" } end', "--output", "out")
    assert result.returncode == 1
    assert b"cannot write dir/x" in result.stderr
    assert transform('return function() return { file = "new" } end', "--output", "out").returncode == 0
    assert (outside / "file").read_text() == "kept"
    assert sorted(p.name for p in outside.iterdir()) == ["file"]


def test_log_lines_go_to_stderr_and_only_the_last_twenty(transform):
    result = transform("return function() for i = 1, 100000 do print(i) end return 'ok' end")
    assert result.stdout == b"ok"
    assert result.stderr.decode().splitlines() == [f"info: {i}" for i in range(99981, 100001)]


@pytest.mark.parametrize(
    "script, message",
    [
        ("while true do end", "t.lua: ran longer than its limit of 500ms (Timeout)"),
        ("while true do pcall(function() while true do end end) end",
         "t.lua: ran longer than its limit of 500ms (Timeout)"),
        ("return function() return ('a'):rep(500):find(('.-'):rep(20) .. 'b') end",
         "t.lua: ran longer than its limit of 500ms (Timeout)"),
        ("local co = coroutine.wrap(function() while true do end end) return co()",
         "t.lua: ran longer than its limit of 500ms (Timeout)"),
        ("return function() table.sort({1, 2, 3}, function() while true do end end) end",
         "t.lua: ran longer than its limit of 500ms (Timeout)"),
        ("setmetatable(_G, {__index = function() while true do end end}) return x",
         "t.lua: ran longer than its limit of 500ms (Timeout)"),
    ],
)
def test_a_script_that_does_not_end_is_killed(transform, tmp_path, script, message):
    assert refusal(transform(script, "--timeout", "500ms"), tmp_path) == message


@pytest.mark.parametrize(
    "script",
    [
        "return function() return ('x'):rep(1e9) end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(#t) end",
        "local s = 'x' while true do s = s .. s end",
        "local s = ('x'):rep(1e6) return s:gsub('x', s)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} for i = 1, 1e9 do t = {t} end return function() return json.encode(t) end",
        "local t = {} for i = 1, 1e6 do t[i] = ('x'):rep(1000) end return table.concat(t)",
        "local f = coroutine.wrap local t = {} for i = 1, 1e9 do t[i] = f(function() end) end",
    ],
)
def test_a_script_that_takes_too_much_memory_fails(transform, tmp_path, script):
    line = refusal(transform(script, "--memory-limit", "32Mi"), tmp_path)
    assert line == "t.lua: used more memory than its limit of 32Mi (MemoryLimit)"


def test_a_flood_of_output_is_refused(transform, tmp_path):
    script = "local s = ('x'):rep(2 ^ 20) return function() local t = {} for i = 1, 200 do t['f' .. i] = s end return t end"
    assert refusal(transform(script), tmp_path).endswith("its limit is 128Mi (OutputLimit)")


@pytest.mark.parametrize(
    "script",
    [
        "local function f() return string.gsub('x', '.', f) end return f",
        "local function f() return ('x'):gsub('.', f) end local c = coroutine.wrap(f) return c()",
        "local function f() table.sort({1, 2, 3}, f) end return f",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "local function f(...) return f(...), 1 end return f",
    ],
)
def test_deep_recursion_fails_the_run_alone(transform, tmp_path, script):
    line = refusal(transform(script), tmp_path)
    assert line.endswith(("(Crashed)", "(HookFailed)", "(MemoryLimit)")), line


@pytest.mark.parametrize("name", [
    "os", "io", "ffi", "debug", "package", "jit", "load", "loadstring", "loadfile", "dofile", "module",
    "collectgarbage", "getfenv", "setfenv", "newproxy", "gcinfo", "string.dump", "http", "blob", "secrets",
])
def test_what_reaches_outside_does_not_exist(transform, name):
    result = transform(f"return function() return tostring({name}) .. tostring(pcall(require, '{name}')) end")
    assert result.stdout == b"nilfalse"


def test_the_same_input_gives_the_same_bytes(transform):
    script = """return function()
      local keys = {}
      for k in pairs({a = 1, b = 2, c = 3}) do keys[#keys + 1] = k end
      table.sort(keys)
      return json.encode({math.random(), math.random(100), tostring({}), keys}) end"""
    assert transform(script).stdout == transform(script).stdout != b""


@pytest.mark.parametrize(
    "script, message",
    [
        ("error{reason = 'NoItems', message = 'the list is empty'}", "t.lua line 1: the list is empty (NoItems)"),
        ("\n\nlocal x = nil\nreturn x.y", "t.lua line 4: attempt to index local 'x' (a nil value) (HookFailed)"),
        ("return function()\n return {}\nend",
         "t.lua: an empty artifact makes Flux prune everything; set spec.allowEmpty: true if it is meant (EmptyResult)"),
        ("return function(d) return json.decode(d) end",
         "t.lua: returned an object; use yaml.encode (it has 'kind') (InvalidResult)"),
        ("return function() return {['../x'] = 'y'} end",
         "t.lua: file path '../x' contains '..'; accepted: a relative path such as 'dir/file.yaml' (InvalidResult)"),
        (b"\x1bLJ\x02", "t.lua: precompiled Lua is not accepted; give the script as text (HookFailed)"),
        ("error('a\\27[31m\\n\\255')", "t.lua line 1: a\\x1b[31m\\n\\xff (HookFailed)"),
    ],
)
def test_a_failure_is_one_clear_line(transform, tmp_path, script, message):
    assert refusal(transform(script, data=b'{"kind":"x"}'), tmp_path) == message


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the script is missing"),
        (["a.lua", "b", "c"], "unexpected argument 'c'"),
        (["a.lua", "--env", "X"], "--env takes KEY=VALUE, not 'X'"),
        (["a.lua", "--timeout", "5"], "--timeout takes a duration such as 5s, not '5'"),
        (["a.lua", "--timeout", "0s"], "--timeout takes a duration such as 5s, not '0s'"),
        (["a.lua", "--memory-limit", "64MB"],
         "--memory-limit takes a size of 4Mi or more, such as 64Mi, not '64MB'"),
        (["a.lua", "--memory-limit", "1"], "--memory-limit takes a size of 4Mi or more, such as 64Mi, not '1'"),
        (["a.lua", "--nope"], "unknown option '--nope'"),
    ],
)
def test_bad_usage_exits_2(arguments, message):
    result = subprocess.run([PROGRAM, "transform", *arguments], capture_output=True, timeout=20)
    assert result.returncode == 2
    assert message in result.stderr.decode()
    assert "see sluice transform --help" in result.stderr.decode()


def test_help_names_every_option():
    result = subprocess.run([PROGRAM, "transform", "--help"], capture_output=True, timeout=20)
    assert result.returncode == 0
    for option in ("--env", "--timeout", "--memory-limit", "--output"):
        assert option.encode() in result.stdout


def test_a_missing_script_or_file_is_named(transform, tmp_path):
    result = subprocess.run([PROGRAM, "transform", "nope.lua"], capture_output=True, timeout=20, cwd=tmp_path)
    assert result.returncode == 1
    assert b"nope.lua" in result.stderr
    result = transform("return function(d) return d end", file="nope.json")
    assert result.returncode == 1
    assert b"nope.json" in result.stderr


@pytest.mark.parametrize("size", ["64Mi", "64M", "67108864"])
def test_sizes_are_read_in_every_notation(transform, size):
    assert transform("return function(d) return d end", "--memory-limit", size, data=b"x").stdout == b"x"


def children_of(pid):
    try:
        return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_a_killed_command_leaves_no_process_behind(tmp_path):
    (tmp_path / "t.lua").write_text("while true do end")
    command = subprocess.Popen([PROGRAM, "transform", "t.lua"], stdin=subprocess.DEVNULL, cwd=tmp_path)
    deadline = time.monotonic() + 30
    family = []
    while len(family) < 2 and time.monotonic() < deadline:
        zygote = children_of(command.pid)
        family = zygote + [child for pid in zygote for child in children_of(pid)]
        time.sleep(0.01)
    assert len(family) == 2
    command.send_signal(signal.SIGKILL)
    command.wait()
    while any(alive(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(alive(pid) for pid in family)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
