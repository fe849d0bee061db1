--- The generator factory: which types there are, and the module of each.

local M = {}

---@class Generator
---@field type string
---@field generate fun(ctx: table, config: table): table
---@field config? Schema
---@field supports_conditional_fetch? boolean
---@field get_last_modified? fun(ctx: table, config: table): string?

---@type table<string, {module: Generator, origin: string}>
local registered = {}

local function invalid(message)
  error({ reason = "InvalidModule", kind = "configuration", message = message }, 0)
end

local function check(generator, origin)
  if type(generator) ~= "table" then
    invalid(origin .. ": a generator must return a table; found " .. type(generator))
  elseif type(generator.type) ~= "string" or not generator.type:find "^[a-z0-9][-a-z0-9]*$" then
    invalid(origin .. ": 'type' must be a string of lower-case letters, digits and '-'")
  elseif type(generator.generate) ~= "function" then
    invalid(origin .. ": 'generate' must be a function; found " .. type(generator.generate))
  elseif generator.get_last_modified ~= nil and type(generator.get_last_modified) ~= "function" then
    invalid(origin .. ": 'get_last_modified' must be a function")
  elseif generator.config ~= nil and (type(generator.config) ~= "table" or not generator.config.check) then
    invalid(origin .. ": 'config' must be a schema, such as schema.object { … }")
  end
end

--- Makes a module known under its type. Two modules of one type are an error that names both.
---@param generator Generator
---@param origin string the module's file or ConfigMap, for messages
function M.register(generator, origin)
  check(generator, origin)
  local other = registered[generator.type]
  if other then
    invalid(origin .. ": the type '" .. generator.type .. "' is there already, from " .. other.origin)
  end
  registered[generator.type] = { module = generator, origin = origin }
end

--- The module of a type, and where it comes from; raises an error that names the types there are.
---@param type_name string
---@return Generator module
---@return string origin
function M.create(type_name)
  local found = registered[type_name]
  if not found then
    error({
      reason = "InvalidSpec",
      kind = "configuration",
      message = "spec.generator.type: found '"
        .. tostring(type_name)
        .. "'; accepted: "
        .. table.concat(M.supported_types(), ", "),
    }, 0)
  end
  return found.module, found.origin
end

--- The types there are, sorted.
---@return string[]
function M.supported_types()
  local types = {}
  for type_name in pairs(registered) do
    types[#types + 1] = type_name
  end
  table.sort(types)
  return types
end

return M
