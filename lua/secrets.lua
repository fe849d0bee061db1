--- Secrets: handles of texts that stay in the core. They can be joined with `..`, given to http and
--- nothing else; their text enters Lua only by handle:text(), which a policy must allow.

local call, new_handle = ...

local M = {}

local parts_of = setmetatable({}, { __mode = "k" })

---@class Secret
local methods = {}

local metatable

local function new(parts)
  local handle = new_handle(metatable)
  parts_of[handle] = parts
  return handle
end

local function append(parts, value)
  if type(value) == "userdata" and parts_of[value] then
    for _, part in ipairs(parts_of[value]) do
      parts[#parts + 1] = part
    end
  elseif type(value) == "string" or type(value) == "number" then
    parts[#parts + 1] = tostring(value)
  else
    error("a secret can be joined with strings and secrets; found " .. type(value), 3)
  end
end

metatable = {
  __index = methods,
  __metatable = "secret",
  __tostring = function()
    return "***"
  end,
  __concat = function(left, right)
    local parts = {}
    append(parts, left)
    append(parts, right)
    return new(parts)
  end,
}

--- The text itself, where the secrets policy allows it.
---@return string
function methods:text()
  local _, text = call("secrets.text", { secret = json.array(parts_of[self]) })
  return text
end

--- How a handle is written in a message to the core; nil for anything else.
---@param value any
---@return table?
function M.message(value)
  local parts = type(value) == "userdata" and parts_of[value]
  return parts and { secret = json.array(parts) } or nil
end

local function check_reference(ref)
  if type(ref) ~= "table" or type(ref.name) ~= "string" then
    error("ctx.secret(ref, key): 'ref' must have a 'name'", 3)
  end
end

--- One key of the Secret that `ref` names, or without a key a table of all: key = handle.
---@param ref {name: string, key: string?}
---@param key? string
---@return Secret|table<string, Secret>
function M.get(ref, key)
  check_reference(ref)
  local wanted = key or ref.key
  local answer = call("secrets.get", { name = ref.name, key = wanted })
  if wanted then
    return new { { id = answer.keys[wanted] } }
  end
  local handles = {}
  for name, id in pairs(answer.keys) do
    handles[name] = new { { id = id } }
  end
  return handles
end

--- A handle of a text that came from upstream.
---@param text string
---@return Secret
function M.sensitive(text)
  if type(text) ~= "string" then
    error("ctx.sensitive(text): found " .. type(text) .. "; accepted: a string", 2)
  end
  return new { { id = call("secrets.sensitive", {}, text).id } }
end

return M
