--- Policies: any denial denies, refused networks add up, an error denies.

local function ask(policies, request)
  local policy = load_runtime "policy"
  for index, entry in ipairs(policies) do
    policy.register(entry, "policies/p" .. index .. ".lua")
  end
  return policy.ask("egress", request or {})
end

local function allow(result, detail)
  return {
    type = "egress",
    allow = function()
      return result, detail
    end,
  }
end

describe("policies", function()
  it("deny where there is none of the type", function()
    local verdict = ask {}
    assert.is_false(verdict.allowed)
    assert.equals("there is no policy of the type 'egress'", verdict.reason)
  end)

  it("allow where all do, and add up what they refuse", function()
    local verdict = ask { allow(true, { refuse = { "10.0.0.0/8" } }), allow(true), allow(true, { refuse = { "::1" } }) }
    assert.is_true(verdict.allowed)
    assert.equals('["10.0.0.0/8","::1"]', json.encode(verdict.refuse))
  end)

  it("deny where one does, in its words", function()
    local verdict = ask { allow(true), allow(false, "not on Sundays") }
    assert.is_false(verdict.allowed)
    assert.equals("not on Sundays", verdict.reason)
  end)

  it("deny where one answers anything but true", function()
    assert.is_false(ask({ allow "yes" }).allowed)
  end)

  it("deny where one fails", function()
    local verdict = ask {
      {
        type = "egress",
        allow = function(request)
          return request.no.such
        end,
      },
    }
    assert.is_false(verdict.allowed)
    assert.truthy(verdict.reason:find("policies/p1.lua", 1, true))
  end)

  it("that ship pass their own examples", function()
    local egress = dofile "policies/egress.lua"
    for _, example in ipairs(egress.examples) do
      local allowed, detail = egress.allow(example.request)
      assert.equals(example.allow, allowed, example.name)
      if example.reason then
        assert.truthy(detail:find(example.reason, 1, true), example.name)
      end
    end
  end)
end)
