--- Blobs: bytes that stay in the core. Lua holds a handle and reads at most 4 MiB of them at a time.

local call, new_handle = ...

local M = {}

M.READ_MAX = 4 * 1024 * 1024

local ids = setmetatable({}, { __mode = "k" })
local lengths = setmetatable({}, { __mode = "k" })

---@class Blob
local methods = {}

local metatable = {
  __index = methods,
  __metatable = "blob",
  __len = function(blob)
    return lengths[blob]
  end,
  __tostring = function(blob)
    return "blob of " .. lengths[blob] .. " bytes"
  end,
}

--- A handle for the core's blob `id`.
---@param id integer
---@param length integer
---@return Blob
function M.wrap(id, length)
  local blob = new_handle(metatable)
  ids[blob] = id
  lengths[blob] = length
  return blob
end

--- The id of a handle; nil for anything else.
---@param value any
---@return integer?
function M.id(value)
  return type(value) == "userdata" and ids[value] or nil
end

--- Up to 4 MiB of the bytes: all of a blob that is no larger, or `length` bytes from `offset` (from 0).
---@param offset? integer
---@param length? integer
---@return string
function methods:read(offset, length)
  local whole = offset == nil and length == nil
  if whole and lengths[self] > M.READ_MAX then
    error({
      reason = "OutputLimit",
      kind = "upstream",
      message = "blob:read(): "
        .. lengths[self]
        .. " bytes, more than the 4 MiB that are read at a time; parse it in a transform",
    }, 2)
  end
  local _, bytes = call("blob.read", { blob = ids[self], offset = offset or 0, length = length or M.READ_MAX })
  return bytes
end

--- The value of the JSON that the bytes are.
---@return any
function methods:json()
  return json.decode(self:read())
end

return M
