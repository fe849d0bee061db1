--- Schemas: what a value may be, and messages that name the field, what was found and what is accepted.
--
-- A schema is a table with a `check(value, path)` that returns the value, with defaults filled in, or
-- raises. The constructors take one table of options, in which every schema knows `required` and
-- `default`. `schema.check(value, schema, path)` is the way to use one.

local M = {}

---@class Schema
---@field accepted string what is accepted, for messages
---@field required? boolean
---@field default? any
---@field check fun(value: any, path: string): any

---@class SchemaError
---@field reason string
---@field message string
---@field kind string
---@field path string

--- Raises the error of a field.
local function fail(path, text)
  error({ reason = "InvalidValue", kind = "configuration", path = path, message = path .. ": " .. text }, 0)
end

--- What was found, for people.
local function describe(value)
  if value == nil or value == json.null then
    return "nothing"
  elseif type(value) == "string" then
    local shown = #value > 60 and value:sub(1, 60) .. "…" or value
    return 'the string "' .. shown .. '"'
  elseif type(value) == "table" then
    return value[1] ~= nil and "a list" or "an object"
  elseif type(value) == "boolean" then
    return tostring(value)
  end
  return "the number " .. tostring(value)
end

local function refuse(value, path, accepted)
  fail(path, "found " .. describe(value) .. "; accepted: " .. accepted)
end

local function is_missing(value)
  return value == nil or value == json.null
end

--- Checks a value that may be missing; `required` and `default` decide then.
local function check(value, schema, path)
  if not is_missing(value) then
    return schema.check(value, path)
  elseif schema.required then
    fail(path, "missing; accepted: " .. schema.accepted)
  end
  return schema.default
end

--- A schema over options: their `required` and `default`, and the check.
local function new(options, accepted, checker)
  if type(options) ~= "table" then
    error("schema: options must be a table", 3)
  end
  return { accepted = accepted, required = options.required, default = options.default, check = checker }
end

--- Number of edits that make one name of another, for "did you mean".
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local above = row[j]
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(diagonal + cost, above + 1, row[j - 1] + 1)
      diagonal = above
    end
  end
  return row[#b]
end

local function nearest(name, names)
  local best, best_distance = nil, math.floor(#name / 3) + 1
  if #name > 40 then
    return nil
  end
  for _, candidate in ipairs(names) do
    local edits = distance(name, candidate)
    if edits <= best_distance then
      best, best_distance = candidate, edits
    end
  end
  return best
end

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  return keys
end

local function check_names(value, fields, names, path)
  for _, key in ipairs(sorted_keys(value)) do
    if not fields[key] then
      local meant = nearest(key, names)
      local hint = meant and ("; did you mean '" .. meant .. "'?") or ";"
      fail(path .. "." .. key, "unknown field" .. hint .. " accepted: " .. table.concat(names, ", "))
    end
  end
end

--- An object with these fields and no others: `schema.object { url = schema.url { required = true } }`.
---@param fields table<string, Schema>
---@return Schema
function M.object(fields)
  local names = sorted_keys(fields)
  return new({}, "an object with " .. table.concat(names, ", "), function(value, path)
    if type(value) ~= "table" or value[1] ~= nil then
      refuse(value, path, "an object with " .. table.concat(names, ", "))
    end
    check_names(value, fields, names, path)
    local result = {}
    for _, name in ipairs(names) do
      result[name] = check(value[name], fields[name], path .. "." .. name)
    end
    return result
  end)
end

--- An optional object, or a required one: `schema.section({ required = true }, { … })`.
---@param options table
---@param fields table<string, Schema>
---@return Schema
function M.section(options, fields)
  local object = M.object(fields)
  return new(options, object.accepted, object.check)
end

--- A string: min and max length in bytes, pattern (a PCRE2 regular expression for the whole string).
---@param options table
---@return Schema
function M.string(options)
  local accepted = options.accepted or "a string"
  if not options.accepted and options.pattern then
    accepted = "a string that matches " .. options.pattern
  elseif not options.accepted and options.min == 1 then
    accepted = "a string that is not empty"
  end
  return new(options, accepted, function(value, path)
    if
      type(value) ~= "string"
      or #value < (options.min or 0)
      or #value > (options.max or math.huge)
      or (options.pattern and not re.match(value, "\\A(?:" .. options.pattern .. ")\\z"))
    then
      refuse(value, path, accepted)
    end
    return value
  end)
end

--- A number: min, max.
---@param options table
---@return Schema
function M.number(options)
  local accepted = options.accepted or "a number"
  if options.min and options.max then
    accepted = string.format("%s from %s to %s", accepted, options.min, options.max)
  elseif options.min then
    accepted = string.format("%s of at least %s", accepted, options.min)
  end
  return new(options, accepted, function(value, path)
    if type(value) ~= "number" or value < (options.min or -math.huge) or value > (options.max or math.huge) then
      refuse(value, path, accepted)
    end
    if options.whole and value % 1 ~= 0 then
      refuse(value, path, accepted)
    end
    return value
  end)
end

--- A whole number: min, max.
---@param options table
---@return Schema
function M.integer(options)
  return M.number {
    min = options.min,
    max = options.max,
    required = options.required,
    default = options.default,
    whole = true,
    accepted = "a whole number",
  }
end

---@param options table
---@return Schema
function M.boolean(options)
  return new(options, "true or false", function(value, path)
    if type(value) ~= "boolean" then
      refuse(value, path, "true or false")
    end
    return value
  end)
end

--- One of the strings: `schema.enum { "metric", "imperial", default = "metric" }`.
---@param options table
---@return Schema
function M.enum(options)
  local accepted = "one of " .. table.concat(options, ", ")
  return new(options, accepted, function(value, path)
    for _, choice in ipairs(options) do
      if value == choice then
        return value
      end
    end
    return refuse(value, path, accepted)
  end)
end

--- A list: `schema.array { schema.string {}, min = 1 }`.
---@param options table
---@return Schema
function M.array(options)
  local item = options[1]
  local accepted = "a list"
  if options.min then
    accepted = "a list of at least " .. options.min
  end
  return new(options, accepted, function(value, path)
    if type(value) ~= "table" or (next(value) ~= nil and value[1] == nil) or #value < (options.min or 0) then
      refuse(value, path, accepted)
    end
    local result = {}
    for index, member in ipairs(value) do
      result[index] = item and check(member, item, path .. "[" .. (index - 1) .. "]") or member
    end
    return json.array(result)
  end)
end

--- An object of any names whose values are all of one schema: `schema.map { schema.string {} }`.
---@param options table
---@return Schema
function M.map(options)
  local item = options[1]
  return new(options, "an object", function(value, path)
    if type(value) ~= "table" or value[1] ~= nil then
      refuse(value, path, "an object")
    end
    local result = {}
    for _, key in ipairs(sorted_keys(value)) do
      result[key] = item and check(value[key], item, path .. "." .. key) or value[key]
    end
    return result
  end)
end

--- An absolute http or https URL.
---@param options table
---@return Schema
function M.url(options)
  local accepted = "an absolute http or https URL"
  return new(options, accepted, function(value, path)
    if type(value) ~= "string" or not re.match(value, "\\Ahttps?://[^\\s/?#]+[^\\s]*\\z") then
      refuse(value, path, accepted)
    end
    return value
  end)
end

local units = { ms = 0.001, s = 1, m = 60, h = 3600 }

--- A Go duration such as 30s or 1m30s; the result is in seconds.
---@param options table
---@return Schema
function M.duration(options)
  local accepted = "a duration such as 30s or 1m30s"
  return new(options, accepted, function(value, path)
    if type(value) ~= "string" or not re.match(value, "\\A(?:[0-9]+(?:\\.[0-9]+)?(?:ms|s|m|h))+\\z") then
      refuse(value, path, accepted)
    end
    local seconds = 0
    for number, unit in value:gmatch "([0-9.]+)([a-z]+)" do
      seconds = seconds + tonumber(number) * units[unit]
    end
    return seconds
  end)
end

--- A reference to a Secret of the source's namespace: {name}, and with `key = true` {name, key}.
---@param options table
---@return Schema
function M.secret_ref(options)
  local fields = { name = M.string { required = true, min = 1 } }
  if options.key then
    fields.key = M.string { required = true, min = 1 }
  end
  return M.section(options, fields)
end

--- Anything at all.
---@param options? table
---@return Schema
function M.any(options)
  return new(options or {}, "any value", function(value)
    return value
  end)
end

--- The value as the schema takes it, with defaults; raises an error that names the field.
---@param value any
---@param schema Schema
---@param path? string how the value is called in messages; "value" if nil
---@return any
function M.check(value, schema, path)
  return check(value, schema, path or "value")
end

M.examples = {
  {
    name = "defaults are filled in",
    schema = M.object { units = M.enum { "metric", "imperial", default = "metric" } },
    value = {},
    expect = { units = "metric" },
  },
}

return M
