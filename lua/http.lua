--- HTTP for generators. Requests read like blocking code; bodies stay in the core as blobs.
--
-- A token is what a source remembers of upstream: its ETag, its Last-Modified, or both, separated by a
-- space. A request with `if_changed_since = token` sends them back in one go (RFC 9110, sections 13.1.2
-- and 13.1.3), and a 304 is `not_modified`.

local call = ...
local blob = require "blob"
local secrets = require "secrets"

local M = {}

local IMF_DATE = "%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT"

local fields = {
  url = true,
  method = true,
  headers = true,
  query = true,
  body = true,
  json = true,
  form = true,
  auth = true,
  timeout = true,
  expect = true,
  if_changed_since = true,
  ca = true,
  certificate = true,
  key = true,
  insecure_skip_verify = true,
}

---@class HttpRequest
---@field url string
---@field method? string
---@field headers? table<string, string|Secret>
---@field query? table<string, string|number>
---@field body? string|Blob
---@field json? any
---@field form? table<string, string|number>
---@field auth? {username: string|Secret, password: string|Secret}|{bearer: string|Secret}
---@field timeout? number|string seconds or "30s"
---@field expect? integer[] statuses that are no errors
---@field if_changed_since? string a token
---@field ca? string|Secret PEM, instead of the system's roots
---@field certificate? string|Secret PEM
---@field key? string|Secret PEM
---@field insecure_skip_verify? boolean

---@class HttpResponse
---@field status integer
---@field headers table<string, string> names in lower case
---@field body Blob
---@field token? string
---@field url string of the last hop
---@field not_modified boolean

local function fail(kind, reason, message, retry_after)
  error({ kind = kind, reason = reason, message = message, retry_after = retry_after }, 0)
end

local function misuse(message)
  fail("configuration", "InvalidRequest", "http: " .. message)
end

--- The ETag and the date of a token.
---@param token string
---@return string? etag
---@return string? date
function M.split_token(token)
  local etag, date = token:match("^(.-) (" .. IMF_DATE .. ")$")
  if etag then
    return etag, date
  elseif token:match("^" .. IMF_DATE .. "$") then
    return nil, token
  end
  return token, nil
end

--- The token of a response's ETag and Last-Modified; nil if it has neither.
---@param etag? string
---@param date? string
---@return string?
function M.join_token(etag, date)
  if date and not date:match("^" .. IMF_DATE .. "$") then
    date = nil
  end
  if etag and date then
    return etag .. " " .. date
  end
  return etag or date
end

local function escape(text)
  return (tostring(text):gsub("[^A-Za-z0-9._~-]", function(byte)
    return string.format("%%%02X", byte:byte())
  end))
end

--- "a=1&b=2", sorted by name so that the same request is the same text.
local function encode_pairs(values)
  local names, pairs_text = {}, {}
  for name in pairs(values) do
    names[#names + 1] = name
  end
  table.sort(names)
  for index, name in ipairs(names) do
    pairs_text[index] = escape(name) .. "=" .. escape(values[name])
  end
  return table.concat(pairs_text, "&")
end

local function with_query(url, query)
  if not query or next(query) == nil then
    return url
  end
  local separator = url:find("?", 1, true) and "&" or "?"
  return url .. separator .. encode_pairs(query)
end

local units = { ms = 0.001, s = 1, m = 60, h = 3600 }

local function seconds(timeout)
  if type(timeout) ~= "string" then
    return timeout
  end
  local total, rest = 0, timeout
  while rest ~= "" do
    local number, unit, after = rest:match "^(%d+%.?%d*)(%a+)(.*)$"
    if not number or not units[unit] then
      misuse("timeout: found '" .. timeout .. "'; accepted: seconds or a duration such as 30s")
    end
    total, rest = total + tonumber(number) * units[unit], after
  end
  return total
end

--- A value that may be a secret, as the core takes it.
local function sendable(value, what)
  local message = secrets.message(value)
  if message then
    return message
  elseif type(value) == "string" or type(value) == "number" then
    return tostring(value)
  end
  return misuse(what .. ": found " .. type(value) .. "; accepted: a string or a secret")
end

local function add_header(list, name, value)
  list[#list + 1] = json.array { name, sendable(value, "headers." .. name) }
end

local function add_auth(list, auth)
  if auth.bearer then
    add_header(list, "authorization", "Bearer " .. auth.bearer)
  elseif auth.username then
    local username = sendable(auth.username, "auth.username")
    local password = sendable(auth.password or "", "auth.password")
    list[#list + 1] = json.array { "authorization", { basic = json.array { username, password } } }
  else
    misuse "auth: accepted: { bearer = … } or { username = …, password = … }"
  end
end

local function header_list(request)
  local names, list = {}, json.array {}
  for name in pairs(request.headers or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add_header(list, name, request.headers[name])
  end
  if request.auth then
    add_auth(list, request.auth)
  end
  if request.if_changed_since then
    local etag, date = M.split_token(request.if_changed_since)
    if etag then
      add_header(list, "if-none-match", etag)
    end
    if date then
      add_header(list, "if-modified-since", date)
    end
  end
  return list
end

--- The body's bytes or blob, and the content type that it brings.
local function body_of(request)
  if request.json ~= nil then
    return json.encode(request.json), nil, "application/json"
  elseif request.form then
    return encode_pairs(request.form), nil, "application/x-www-form-urlencoded"
  elseif blob.id(request.body) then
    return nil, blob.id(request.body), nil
  elseif request.body ~= nil and type(request.body) ~= "string" then
    misuse("body: found " .. type(request.body) .. "; accepted: a string or a blob")
  end
  return request.body, nil, nil
end

local function check_fields(request)
  if type(request) ~= "table" then
    misuse("found " .. type(request) .. "; accepted: a table such as { url = … }")
  end
  for name in pairs(request) do
    if not fields[name] then
      misuse("unknown field '" .. tostring(name) .. "'")
    end
  end
  if type(request.url) ~= "string" then
    misuse("url: found " .. type(request.url) .. "; accepted: a string")
  end
end

local function optional(value, what)
  if value == nil then
    return nil
  end
  return sendable(value, what)
end

local function send(request)
  local bytes, blob_id, content_type = body_of(request)
  local headers = header_list(request)
  if content_type then
    add_header(headers, "content-type", content_type)
  end
  return call("http.request", {
    method = request.method or "GET",
    url = with_query(request.url, request.query),
    headers = headers,
    body = bytes and true or nil,
    blob = blob_id,
    timeout = seconds(request.timeout),
    ca = optional(request.ca, "ca"),
    certificate = optional(request.certificate, "certificate"),
    key = optional(request.key, "key"),
    insecure_skip_verify = request.insecure_skip_verify or nil,
  }, bytes)
end

local function expected(request, response)
  if response.status >= 200 and response.status < 300 or response.not_modified then
    return true
  end
  for _, status in ipairs(request.expect or {}) do
    if status == response.status then
      return true
    end
  end
  return false
end

--- The error of a status: what may pass by itself is transient, what upstream means is not.
local function raise_status(request, response, answer)
  local message = string.format("%s %s answered %d", request.method or "GET", answer.shown, response.status)
  if response.status == 404 or response.status == 410 then
    fail("upstream", "NotFound", message)
  elseif response.status == 408 or response.status == 429 or response.status >= 500 then
    fail("transient", "HTTPStatus", message, answer.retry_after)
  elseif response.status >= 300 and response.status < 400 then
    fail("upstream", "HTTPStatus", message .. " without a redirect that can be followed")
  end
  fail("upstream", "HTTPStatus", message)
end

--- Sends a request. Raises a typed error unless the status is 2xx, 304 after `if_changed_since`, or listed
--- in `expect`.
---@param request HttpRequest
---@return HttpResponse
function M.request(request)
  check_fields(request)
  local answer = send(request)
  local headers = {}
  for _, header in ipairs(answer.headers) do
    local name, value = header[1], header[2]
    headers[name] = headers[name] and (headers[name] .. ", " .. value) or value
  end
  local response = {
    status = answer.status,
    headers = headers,
    url = answer.url,
    body = blob.wrap(answer.blob, answer.length),
    token = M.join_token(headers["etag"], headers["last-modified"]),
    not_modified = answer.status == 304 and request.if_changed_since ~= nil,
  }
  if not expected(request, response) then
    raise_status(request, response, answer)
  end
  return response
end

---@param request HttpRequest
---@return HttpResponse
function M.get(request)
  check_fields(request)
  request.method = "GET"
  return M.request(request)
end

---@param request HttpRequest
---@return HttpResponse
function M.post(request)
  check_fields(request)
  request.method = "POST"
  return M.request(request)
end

return M
