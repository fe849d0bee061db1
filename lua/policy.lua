--- Policies: all modules of a type are asked, any denial denies, refused networks add up, an error denies.

local M = {}

---@class Policy
---@field type string
---@field allow fun(request: table): boolean, string|table|nil

---@type table<string, {policy: Policy, origin: string}[]>
local registered = {}

local function invalid(message)
  error({ reason = "InvalidModule", kind = "configuration", message = message }, 0)
end

--- Adds a policy to those of its type.
---@param policy Policy
---@param origin string
function M.register(policy, origin)
  if type(policy) ~= "table" then
    invalid(origin .. ": a policy must return a table; found " .. type(policy))
  elseif type(policy.type) ~= "string" then
    invalid(origin .. ": 'type' must be a string, such as egress")
  elseif type(policy.allow) ~= "function" then
    invalid(origin .. ": 'allow' must be a function; found " .. type(policy.allow))
  end
  registered[policy.type] = registered[policy.type] or {}
  table.insert(registered[policy.type], { policy = policy, origin = origin })
end

local function ask_one(entry, request, refuse)
  local ok, allowed, detail = pcall(entry.policy.allow, request)
  if not ok then
    local message = type(allowed) == "table" and allowed.message or allowed
    return entry.origin .. ": " .. tostring(message)
  elseif allowed ~= true then
    return type(detail) == "string" and detail or ("denied by " .. entry.origin)
  end
  for _, network in ipairs(type(detail) == "table" and detail.refuse or {}) do
    refuse[#refuse + 1] = network
  end
  return nil
end

--- Asks all policies of `type_name`.
---@param type_name string
---@param request table
---@return {allowed: boolean, reason: string?, refuse: string[]}
function M.ask(type_name, request)
  local refuse = json.array {}
  local policies = registered[type_name]
  if not policies then
    return { allowed = false, reason = "there is no policy of the type '" .. type_name .. "'", refuse = refuse }
  end
  for _, entry in ipairs(policies) do
    local reason = ask_one(entry, request, refuse)
    if reason then
      return { allowed = false, reason = reason, refuse = refuse }
    end
  end
  return { allowed = true, refuse = refuse }
end

return M
