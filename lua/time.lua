--- Adds to the time library, which parses and formats, the clock that only generators have.

local call = ...

local time = _G.time

--- Seconds since 1970 UTC.
---@return number
function time.now()
  return call("time.now", {}).seconds
end

--- Waits; other calls go on meanwhile.
---@param seconds number at most 60
function time.sleep(seconds)
  call("time.sleep", { seconds = seconds })
end

return time
