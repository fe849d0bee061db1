--- The generator factory: create, register, supported_types.

local function fresh()
  return load_runtime "factory"
end

local function generator(type_name)
  return { type = type_name, generate = function() end }
end

local function failure(...)
  local ok, err = pcall(...)
  assert.is_false(ok)
  return err
end

describe("the factory", function()
  it("creates what was registered", function()
    local factory = fresh()
    local weather = generator "weather"
    factory.register(weather, "generators/weather.lua")
    local module, origin = factory.create "weather"
    assert.equals(weather, module)
    assert.equals("generators/weather.lua", origin)
  end)

  it("tells the types there are, sorted", function()
    local factory = fresh()
    factory.register(generator "weather", "b.lua")
    factory.register(generator "http", "a.lua")
    assert.same({ "http", "weather" }, factory.supported_types())
  end)

  it("names the types there are when it does not know one", function()
    local factory = fresh()
    factory.register(generator "http", "a.lua")
    local err = failure(factory.create, "htp")
    assert.equals("spec.generator.type: found 'htp'; accepted: http", err.message)
    assert.equals("configuration", err.kind)
  end)

  it("names both modules of one type", function()
    local factory = fresh()
    factory.register(generator "http", "a.lua")
    local err = failure(factory.register, generator "http", "b.lua")
    assert.equals("b.lua: the type 'http' is there already, from a.lua", err.message)
  end)

  local faults = {
    { "text", "m.lua: a generator must return a table; found string" },
    { { generate = print }, "m.lua: 'type' must be a string of lower-case letters, digits and '-'" },
    { { type = "x" }, "m.lua: 'generate' must be a function; found nil" },
    { { type = "x", generate = print, config = {} }, "m.lua: 'config' must be a schema" },
    { { type = "x", generate = print, get_last_modified = 1 }, "m.lua: 'get_last_modified' must be a function" },
  }
  for _, fault in ipairs(faults) do
    it("refuses a module: " .. fault[2], function()
      local err = failure(fresh().register, fault[1], "m.lua")
      assert.equals(fault[2], err.message:sub(1, #fault[2]))
    end)
  end
end)
