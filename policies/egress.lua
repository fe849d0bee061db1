--- Which URLs sources may fetch: http and https, anywhere. What no policy can allow (link-local and cloud
--- metadata addresses, this program's own listeners) is refused by the core itself.

local M = { type = "egress" }

function M.allow(request)
  if request.scheme ~= "http" and request.scheme ~= "https" then
    return false, "only http and https are allowed; found " .. tostring(request.scheme)
  end
  return true, { refuse = {} }
end

M.examples = {
  { name = "https is allowed", request = { scheme = "https", host = "example.com" }, allow = true },
  { name = "ftp is not", request = { scheme = "ftp", host = "example.com" }, allow = false, reason = "only http" },
}

return M
