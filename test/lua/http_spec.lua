--- lua/http.lua over a scripted core: what it asks for, and what it makes of answers.

local asked

local function core(answer)
  return function(name, arguments, bytes)
    asked[#asked + 1] = { name = name, arguments = arguments, bytes = bytes }
    return answer
  end
end

local function answer(fields)
  local result = { status = 200, headers = {}, blob = 1, length = 2, url = "http://a/", shown = "http://a/" }
  for key, value in pairs(fields or {}) do
    result[key] = value
  end
  return result
end

local function load_http(result)
  asked = {}
  load_runtime("blob", core(result))
  load_runtime("secrets", core(result))
  return load_runtime("http", core(result))
end

local function header(name)
  for _, pair in ipairs(asked[1].arguments.headers) do
    if pair[1] == name then
      return pair[2]
    end
  end
end

local DATE = "Wed, 21 Oct 2015 07:28:00 GMT"

describe("http", function()
  it("sends both parts of a token in one request", function()
    local http = load_http(answer { status = 304 })
    local response = http.get { url = "http://a/", if_changed_since = '"v1" ' .. DATE }
    assert.is_true(response.not_modified)
    assert.equals(1, #asked)
    assert.equals('"v1"', header "if-none-match")
    assert.equals(DATE, header "if-modified-since")
  end)

  it("makes a token of ETag and Last-Modified", function()
    local http = load_http(answer { headers = { { "etag", 'W/"v2"' }, { "last-modified", DATE } } })
    assert.equals('W/"v2" ' .. DATE, http.get({ url = "http://a/" }).token)
  end)

  local tokens = {
    { '"v1"', nil, '"v1"' },
    { nil, DATE, DATE },
    { '"a b"', DATE, '"a b" ' .. DATE },
    { "unquoted", nil, "unquoted" },
    { '"v1"', "yesterday", '"v1"' },
  }
  for _, case in ipairs(tokens) do
    it("takes the token apart again: " .. case[3], function()
      local http = load_http(answer())
      assert.equals(case[3], http.join_token(case[1], case[2]))
      local etag, date = http.split_token(case[3])
      assert.equals(case[1], etag)
      assert.equals(case[2] ~= "yesterday" and case[2] or nil, date)
    end)
  end

  local failures = {
    { 404, "upstream", "NotFound" },
    { 403, "upstream", "HTTPStatus" },
    { 429, "transient", "HTTPStatus" },
    { 500, "transient", "HTTPStatus" },
    { 304, "upstream", "HTTPStatus" },
  }
  for _, case in ipairs(failures) do
    it("raises a typed error for " .. case[1], function()
      local http = load_http(answer { status = case[1], retry_after = 7 })
      local ok, err = pcall(http.get, { url = "http://a/" })
      assert.is_false(ok)
      assert.equals(case[2], err.kind)
      assert.equals(case[3], err.reason)
      assert.equals("GET http://a/ answered " .. case[1], err.message:sub(1, #("GET http://a/ answered 404")))
    end)
  end

  it("takes a status that is expected", function()
    assert.equals(404, load_http(answer { status = 404 }).get({ url = "http://a/", expect = { 404 } }).status)
  end)

  it("encodes queries and forms sorted by name", function()
    local http = load_http(answer())
    http.post { url = "http://a/?x=1", query = { b = "2 3", a = "ü" }, form = { k = "v&w" } }
    assert.equals("http://a/?x=1&a=%C3%BC&b=2%203", asked[1].arguments.url)
    assert.equals("k=v%26w", asked[1].bytes)
    assert.equals("application/x-www-form-urlencoded", header "content-type")
  end)

  it("names an unknown field", function()
    local ok, err = pcall(load_http(answer()).get, { url = "http://a/", header = {} })
    assert.is_false(ok)
    assert.equals("http: unknown field 'header'", err.message)
  end)

  it("keeps secrets handles on their way", function()
    load_http(answer())
    local secrets = load_runtime("secrets", function()
      return { keys = { token = 5 } }
    end)
    package.loaded.secrets = secrets
    local http = load_runtime("http", core(answer()))
    http.get { url = "http://a/", headers = { authorization = "Bearer " .. secrets.get({ name = "s" }, "token") } }
    assert.same({ "Bearer ", { id = 5 } }, header("authorization").secret)
  end)
end)
