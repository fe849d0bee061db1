"""JSON and YAML carry every value through a Lua state unchanged.

The witnesses are Python's json and sigs.k8s.io/yaml, the parser of kubectl (test/tools/yamljson).
"""

import json
import math
import os
import random
import subprocess

import pytest

import corpus

ROUND_TRIP = """
local answers = json.array {}
for i, text in ipairs(json.decode((...))) do
  local ok, answer = pcall(function() return json.encode(json.decode(text)) end)
  answers[i] = { ok = ok, text = answer }
end
return json.encode(answers)
"""

YAML_DECODE = """
local answers = json.array {}
for i, text in ipairs(json.decode((...))) do
  local ok, answer = pcall(function() return json.encode(yaml.decode(text)) end)
  answers[i] = { ok = ok, text = answer }
end
return json.encode(answers)
"""

YAML_ENCODE = """
local answers = json.array {}
for i, text in ipairs(json.decode((...))) do
  local value = json.decode(text)
  local written = yaml.encode(value)
  answers[i] = { yaml = written, own = json.encode(yaml.decode(written)) }
end
return json.encode(answers)
"""


@pytest.fixture
def lua(build, tmp_path):
    """lua(SCRIPT, INPUT) runs a script in the state that people's code gets, and returns its text."""

    def run(script, text):
        path = tmp_path / "script.lua"
        path.write_text(script)
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        done = subprocess.run([build / "lua_state", path], input=data, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode("utf-8")

    return run


@pytest.fixture(scope="session")
def kubectl_reads(go_tool):
    """kubectl_reads(DOCUMENTS) is what kubectl's parser makes of each: {"json": …} or {"error": …}."""
    tool = go_tool("yamljson")

    def read(documents):
        done = subprocess.run([tool], input=json.dumps(documents).encode(), capture_output=True, check=True)
        return json.loads(done.stdout)

    return read


def refuse_constant(name):
    raise ValueError(name)


def sorted_object(pairs):
    keys = [key.encode("utf-8", "surrogatepass") for key, _ in pairs]
    assert keys == sorted(keys), f"keys are not sorted: {keys[:20]}"
    return dict(pairs)


def identical(a, b):
    """Equal in value and type: 1 is not 1.0, 0.0 is not -0.0, and lists are not objects. Without recursion,
    for some Pythons read deeper than they recurse."""
    pairs = [(a, b)]
    while pairs:
        a, b = pairs.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, list) and len(a) == len(b):
            pairs += zip(a, b)
        elif isinstance(a, dict) and a.keys() == b.keys():
            pairs += ((a[key], b[key]) for key in a)
        elif isinstance(a, float) and math.copysign(1, a) != math.copysign(1, b):
            return False
        elif isinstance(a, (list, dict)) or a != b:
            return False
    return True


def python_reads(text, **options):
    """json.loads, also for what is nested deeper than Python's recursion allows."""
    try:
        return json.loads(text, parse_constant=refuse_constant, **options)
    except RecursionError:
        return "".join(text.split())


def random_value(generator, depth=0):
    kind = generator.random()
    if depth > 5 or kind < 0.3:
        return generator.choice(corpus.JSON_STRINGS[:24])
    if kind < 0.5:
        number = generator.choice(corpus.JSON_NUMBERS)
        return json.loads(number) if "400" not in number else 1
    if kind < 0.6:
        return generator.choice([None, True, False])
    if kind < 0.8:
        return [random_value(generator, depth + 1) for _ in range(generator.randint(0, 5))]
    keys = generator.sample(corpus.JSON_STRINGS[:24], generator.randint(0, 5))
    return {key: random_value(generator, depth + 1) for key in keys}


def assert_carried(lua, documents):
    answers = json.loads(lua(ROUND_TRIP, json.dumps(documents)))
    for document, answer in zip(documents, answers, strict=True):
        assert answer["ok"], f"{document[:200]}: {answer['text']}"
        came_back = python_reads(answer["text"], object_pairs_hook=sorted_object)
        assert identical(python_reads(document), came_back), f"{document[:200]} became {answer['text'][:200]}"


def test_numbers_keep_value_and_type(lua):
    numbers = corpus.JSON_NUMBERS
    assert_carried(lua, numbers + [f"[{n}]" for n in numbers] + [f'{{"a":{n}}}' for n in numbers])


def test_strings_are_carried_through(lua):
    texts = [json.dumps(s) for s in corpus.JSON_STRINGS]
    texts += [json.dumps(s, ensure_ascii=False) for s in corpus.JSON_STRINGS]
    assert_carried(lua, texts + [f"[{t}]" for t in texts] + [f"{{{t}:{t}}}" for t in texts])


def test_documents_are_carried_through(lua):
    assert_carried(lua, corpus.JSON_DOCUMENTS)


def test_random_documents_are_carried_through(lua):
    seed = int(os.environ.get("SLUICE_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SLUICE_SEED", seed)
    generator = random.Random(seed)
    assert_carried(lua, [json.dumps(random_value(generator), ensure_ascii=False) for _ in range(500)])


def test_what_is_not_json_is_refused_with_line_and_column(lua):
    answers = json.loads(lua(ROUND_TRIP, json.dumps([text for text, _ in corpus.JSON_INVALID])))
    for (text, message), answer in zip(corpus.JSON_INVALID, answers, strict=True):
        assert not answer["ok"], f"{text!r} was read as {answer['text']}"
        assert message in answer["text"], repr(text[:100])
        assert "json.decode: line " in answer["text"]


def test_bytes_that_are_no_utf8_are_refused_with_their_place(lua):
    script = "local ok, message = pcall(json.decode, (...)) return tostring(ok) .. message"
    for bad in corpus.JSON_INVALID_BYTES:
        answer = lua(script, b'["ok",\n"' + bad + b'"]')
        assert answer.startswith("false")
        assert f"line 2 column 2: byte 0x{bad[0]:02x} is not UTF-8" in answer


def kubectl_differs(document):
    """Integers past 63 bits as keys: kubectl refuses them, we take their text."""
    return document.removeprefix("? ").startswith(("18446744073709551615", "0xFFFFFFFFFFFFFFFF"))


def yaml_documents():
    for scalar in corpus.YAML_SCALARS:
        yield f"a: {scalar}\n"
        yield f"{scalar}\n"
        yield f"- {scalar}\n"
        yield f"{scalar}: v\n"
        yield f"? {scalar}\n: v\n"
        if scalar[0] not in "]}":
            yield f"[ {scalar} ]\n"
            yield f"{{ a: {scalar} }}\n"
    yield from corpus.YAML_DOCUMENTS


def test_yaml_is_read_as_kubectl_reads_it(lua, kubectl_reads):
    documents = [document for document in yaml_documents() if not kubectl_differs(document)]
    ours = json.loads(lua(YAML_DECODE, json.dumps(documents)))
    for document, answer, theirs in zip(documents, ours, kubectl_reads(documents), strict=True):
        if "error" in theirs:
            assert not answer["ok"], f"{document!r}: kubectl says {theirs['error']}, we read {answer['text']}"
            continue
        assert answer["ok"], f"{document!r}: kubectl reads {theirs['json']}, we say {answer['text']}"
        read = json.loads(answer["text"], parse_int=float)
        assert read == json.loads(theirs["json"], parse_int=float), f"{document!r} became {answer['text']}"


def test_keys_given_twice_are_refused_where_kubectl_takes_the_last(lua):
    documents = ["a: 1\nb: 2\na: 3\n", "1: a\n'1': b\n", "{yes: 1, 'true': 2}\n"]
    answers = json.loads(lua(YAML_DECODE, json.dumps(documents)))
    assert [answer["ok"] for answer in answers] == [False] * 3
    assert "line 3 column 1: key 'a' is given twice" in answers[0]["text"]


def near(theirs, value):
    """Equal, as far as kubectl can: its integers end at 64 bits, and beyond it takes doubles."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(theirs) == float(value)
    return theirs == value


def assert_written_for_kubectl(lua, kubectl_reads, values):
    answers = json.loads(lua(YAML_ENCODE, json.dumps([json.dumps(value) for value in values])))
    theirs = kubectl_reads([answer["yaml"] for answer in answers])
    for value, answer, read in zip(values, answers, theirs, strict=True):
        assert "json" in read, f"{value!r}: {answer['yaml']!r}: {read}"
        assert near(json.loads(read["json"]), value), f"{value!r} became {answer['yaml']!r}"
        assert identical(json.loads(answer["own"]), value), f"{value!r} became {answer['yaml']!r}"


def test_awkward_strings_are_written_so_that_kubectl_reads_them_back(lua, kubectl_reads):
    values = []
    for text in corpus.YAML_STRINGS:
        values += [text, [text], [[text]], {"k": text}, {"k": [text, {"m": text, "n": text}]}, {text: text}]
    assert_written_for_kubectl(lua, kubectl_reads, values)


def test_values_are_written_so_that_kubectl_reads_them_back(lua, kubectl_reads):
    values = [None, True, [], {}, [[]], [{}], {"a": []}, {"a": {}}, [[1, [2, []]], {"b": [{"c": {}}]}]]
    values += [json.loads(number) for number in corpus.JSON_NUMBERS if "e400" not in number]
    values += [{"x" * 2000: {"y": ["z"]}}, {"é" * 600: ["z"]}, {"\n" * 300: {"a": 1}}]
    assert_written_for_kubectl(lua, kubectl_reads, values)


def test_random_strings_are_written_so_that_kubectl_reads_them_back(lua, kubectl_reads):
    seed = int(os.environ.get("SLUICE_SEED", random.SystemRandom().randrange(1 << 32)))
    print("SLUICE_SEED", seed)
    generator = random.Random(seed)
    atoms = list(" :#-,'\"\\\n\t?!&*%@`|>{}[]=~<ab01e._é\r\x00\u2028😀") + ["\n\n", ": ", " #", "- ", "---"]

    def text():
        return "".join(generator.choices(atoms, k=generator.choice([1, 2, 3, 5, 12, 40])))

    values = [{text(): [text(), {text(): text()}], text(): text()} for _ in range(1500)]
    assert_written_for_kubectl(lua, kubectl_reads, values)


def test_streams_of_documents_are_carried_through(lua):
    script = """
    local documents = yaml.decode_all((...))
    return yaml.encode_all(documents) .. "#" .. #documents
    """
    stream = "# first\n---\na: 1\n---\n\n---\n- x\n- no\n---\n~\n---\ns: |\n  x\n\n...\n"
    assert lua(script, stream) == 'a: 1\n---\n- x\n- false\n---\ns: |\n  x\n#3'


def test_the_same_value_is_always_the_same_text(lua):
    script = """
    local t = {}
    for i = 1, 200 do t["key" .. i] = { [tostring(i)] = i, list = json.array {}, text = "x" .. i } end
    return json.encode(t) .. yaml.encode(t) .. math.random() .. tostring(t) .. tostring(print)
    """
    assert len({lua(script, "") for _ in range(3)}) == 1
