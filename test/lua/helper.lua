--- Makes the system's LuaJIT like a generator host, as far as pure Lua goes: the native libraries as
--- globals, the runtime modules by name. `load_runtime(name, call)` loads one over a scripted `call`.

local build = assert(os.getenv "SLUICE_BUILD", "SLUICE_BUILD names the build directory")

package.cpath = build .. "/?.so;" .. package.cpath
for name, library in pairs(require "natives") do
  _G[name] = library
  package.loaded[name] = library
end

--- newproxy is how a handle is made without C.
local function new_handle(metatable)
  local handle = newproxy(true)
  local target = getmetatable(handle)
  for key, value in pairs(metatable) do
    target[key] = value
  end
  return handle
end

function _G.load_runtime(name, call)
  local module = assert(loadfile("lua/" .. name .. ".lua"))(call, new_handle)
  package.loaded[name] = module
  return module
end

_G.schema = load_runtime "schema"
