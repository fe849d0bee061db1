--- One call into a generator: checks the configuration, makes ctx, runs the module, and brings what it
--- returns, or raises, into the form of a message to the core.

local factory = require "factory"
local schema = require "schema"
local secrets = require "secrets"
local blob = require "blob"

local LABEL = "^[A-Za-z0-9._/-]+$"

--- Returned by a module for "upstream has nothing new".
local NOT_MODIFIED = setmetatable({}, {
  __metatable = "not_modified",
  __tostring = function()
    return "not_modified"
  end,
})

local function invalid_result(origin, message)
  error({ reason = "InvalidResult", kind = "transient", message = origin .. ": " .. message }, 0)
end

local function make_context(request)
  return {
    source = request.source,
    last_modified = request.last_modified,
    not_modified = NOT_MODIFIED,
    secret = secrets.get,
    sensitive = secrets.sensitive,
  }
end

local function check_config(generator, request)
  if not generator.config then
    return request.config
  end
  local ok, result = pcall(schema.check, request.config, generator.config, "spec.generator." .. request.type)
  if not ok then
    if type(result) == "table" and result.message then
      error({ reason = "InvalidSpec", kind = "configuration", message = result.message, path = result.path }, 0)
    end
    error(result, 0)
  end
  return result
end

--- Puts contents that are strings one after the other, as the bytes of the message.
local function new_packer()
  local chunks, length = {}, 0
  local packer = {}
  function packer.place(content, what, origin)
    local id = blob.id(content)
    if id then
      return { blob = id }
    elseif type(content) ~= "string" then
      invalid_result(origin, what .. " is " .. type(content) .. "; accepted: a string or a blob")
    end
    chunks[#chunks + 1] = content
    length = length + #content
    return { at = length - #content, length = #content }
  end
  function packer.bytes()
    return table.concat(chunks)
  end
  return packer
end

local function pack_data(data, packer, origin)
  if type(data) ~= "table" then
    return packer.place(data, "data", origin)
  end
  local paths, files = {}, json.array {}
  for path in pairs(data) do
    if type(path) ~= "string" then
      invalid_result(origin, "data is a list; accepted: a string, a blob or a table of path = content")
    end
    paths[#paths + 1] = path
  end
  table.sort(paths)
  for index, path in ipairs(paths) do
    local file = packer.place(data[path], "data['" .. path .. "']", origin)
    file.path = path
    files[index] = file
  end
  return { files = files }
end

local function check_strings(metadata, origin)
  for key, value in pairs(metadata) do
    if type(key) ~= "string" or type(value) ~= "string" then
      invalid_result(origin, "metadata must be a table of strings")
    end
  end
  return metadata
end

local function is_nothing(data)
  return data == nil or data == json.null or data == "" or (type(data) == "table" and next(data) == nil)
end

--- The result as a message: { data, last_modified, metadata, revision_label }, and its bytes.
local function pack_result(result, token, origin)
  if result == NOT_MODIFIED then
    return { not_modified = true }, ""
  elseif type(result) ~= "table" then
    invalid_result(origin, "generate returned " .. type(result) .. "; accepted: a table with 'data'")
  end
  local packer = new_packer()
  local label = result.revision_label
  if label ~= nil and not (type(label) == "string" and label:find(LABEL)) then
    invalid_result(origin, "revision_label must match " .. LABEL)
  end
  if result.last_modified ~= nil and type(result.last_modified) ~= "string" then
    invalid_result(origin, "last_modified is " .. type(result.last_modified) .. "; accepted: a string")
  end
  return {
    empty = is_nothing(result.data) or nil,
    data = pack_data(is_nothing(result.data) and "" or result.data, packer, origin),
    last_modified = result.last_modified or token,
    metadata = result.metadata and check_strings(result.metadata, origin),
    revision_label = label,
  },
    packer.bytes()
end

--- A module that cannot fetch conditionally may tell cheaply whether there is anything new.
local function unchanged_token(generator, ctx, config)
  if not generator.get_last_modified then
    return nil, false
  end
  local token = generator.get_last_modified(ctx, config)
  return token, token ~= nil and token == ctx.last_modified
end

local function run(request)
  local generator, origin = factory.create(request.type)
  local config = check_config(generator, request)
  local ctx = make_context(request)
  local token, unchanged = unchanged_token(generator, ctx, config)
  if unchanged then
    return { not_modified = true }, ""
  end
  return pack_result(generator.generate(ctx, config), token, origin)
end

--- A message to the core is JSON, and so UTF-8: of other text what is ASCII is left.
local function sendable(text)
  if pcall(json.encode, text) then
    return text
  end
  return (text:gsub("[\128-\255]", "?"))
end

--- An error as the core takes it: {reason, message, kind, retry_after}.
local function describe(failure)
  if type(failure) ~= "table" then
    return { reason = "GeneratorFailed", kind = "transient", message = sendable(tostring(failure)) }
  end
  local kind = failure.kind
  if kind ~= "configuration" and kind ~= "upstream" then
    kind = "transient"
  end
  return {
    reason = type(failure.reason) == "string" and sendable(failure.reason) or "GeneratorFailed",
    kind = kind,
    message = sendable(tostring(failure.message or failure.reason or "the module raised an error without a message")),
    retry_after = type(failure.retry_after) == "number" and failure.retry_after or nil,
    path = type(failure.path) == "string" and failure.path or nil,
  }
end

--- Runs one call: true, message, bytes; or false, error.
return function(request)
  local ok, result, bytes = xpcall(run, describe, request)
  if not ok and type(result) ~= "table" then
    result = describe(result) -- an error for which the stack had no room to describe it
  end
  return ok, result, bytes
end
