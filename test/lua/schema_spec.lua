--- The schema library: defaults, and messages that name the field, what was found and what is accepted.

local schema = require "schema"

local config = schema.object {
  url = schema.url { required = true },
  method = schema.enum { "GET", "POST", default = "GET" },
  retries = schema.integer { min = 0, max = 5, default = 2 },
  timeout = schema.duration {},
  headersSecretRef = schema.secret_ref {},
  caBundleSecretRef = schema.secret_ref { key = true },
  tags = schema.array { schema.string { min = 1 } },
  labels = schema.map { schema.string {} },
  insecure = schema.boolean { default = false },
}

local function failure(value)
  local ok, err = pcall(schema.check, value, config, "spec.generator.http")
  assert.is_false(ok)
  assert.equals("configuration", err.kind)
  return err.message
end

describe("a schema", function()
  it("fills in defaults", function()
    local checked = schema.check({ url = "https://example.com" }, config, "c")
    assert.equals("GET", checked.method)
    assert.equals(2, checked.retries)
    assert.is_false(checked.insecure)
  end)

  it("takes null for missing", function()
    local checked = schema.check({ url = "https://example.com", method = json.null }, config, "c")
    assert.equals("GET", checked.method)
  end)

  it("reads durations as seconds", function()
    local checked = schema.check({ url = "https://example.com", timeout = "1m30s" }, config, "c")
    assert.equals(90, checked.timeout)
  end)

  it("keeps an empty list a list", function()
    local checked = schema.check({ url = "https://example.com", tags = json.array {} }, config, "c")
    assert.equals("[]", json.encode(checked.tags))
  end)

  local cases = {
    { "a missing field", {}, "spec.generator.http.url: missing; accepted: an absolute http or https URL" },
    {
      "a value that is not in an enum",
      { url = "http://a", method = "FETCH" },
      'spec.generator.http.method: found the string "FETCH"; accepted: one of GET, POST',
    },
    {
      "an unknown field, with the nearest known one",
      { url = "http://a", methd = "GET" },
      "spec.generator.http.methd: unknown field; did you mean 'method'? accepted: caBundleSecretRef, "
        .. "headersSecretRef, insecure, labels, method, retries, tags, timeout, url",
    },
    {
      "a number out of range",
      { url = "http://a", retries = 9 },
      "spec.generator.http.retries: found the number 9; accepted: a whole number from 0 to 5",
    },
    {
      "a number that is not whole",
      { url = "http://a", retries = 1.5 },
      "spec.generator.http.retries: found the number 1.5; accepted: a whole number from 0 to 5",
    },
    {
      "a wrong type",
      { url = "http://a", insecure = "yes" },
      'spec.generator.http.insecure: found the string "yes"; accepted: true or false',
    },
    {
      "a URL that is none",
      { url = "ftp://a" },
      'spec.generator.http.url: found the string "ftp://a"; accepted: an absolute http or https URL',
    },
    {
      "a duration that is none",
      { url = "http://a", timeout = "5 minutes" },
      'spec.generator.http.timeout: found the string "5 minutes"; accepted: a duration such as 30s or 1m30s',
    },
    {
      "a reference without its key",
      { url = "http://a", caBundleSecretRef = { name = "ca" } },
      "spec.generator.http.caBundleSecretRef.key: missing; accepted: a string",
    },
    {
      "an item of a list",
      { url = "http://a", tags = json.array { "a", 7 } },
      "spec.generator.http.tags[1]: found the number 7; accepted: a string that is not empty",
    },
    {
      "an object where a list should be",
      { url = "http://a", tags = { a = 1 } },
      "spec.generator.http.tags: found an object; accepted: a list",
    },
    {
      "a value of a map",
      { url = "http://a", labels = { a = false } },
      "spec.generator.http.labels.a: found false; accepted: a string",
    },
    { "a list where an object should be", { "x" }, "spec.generator.http: found a list; accepted: an object with" },
  }
  for _, case in ipairs(cases) do
    it("names " .. case[1], function()
      assert.equals(case[3], failure(case[2]):sub(1, #case[3]))
    end)
  end

  it("passes its own examples", function()
    for _, example in ipairs(schema.examples) do
      assert.same(example.expect, schema.check(example.value, example.schema))
    end
  end)
end)
