--- Fetches a URL. With a token it asks in one GET whether anything is new; see lua/http.lua.

local http = require "http"
local schema = require "schema"

local M = { type = "http", supports_conditional_fetch = true }

M.config = schema.object {
  url = schema.url { required = true },
  method = schema.enum { "GET", "POST", "PUT", "PATCH", "HEAD", default = "GET" },
  headersSecretRef = schema.secret_ref {},
  caBundleSecretRef = schema.secret_ref { key = true },
  insecureSkipVerify = schema.boolean { default = false },
  secretRef = schema.secret_ref {},
  certSecretRef = schema.secret_ref {},
}

--- Every key of the Secret is a header.
local function headers_of(ctx, config)
  return config.headersSecretRef and ctx.secret(config.headersSecretRef) or nil
end

--- bearerToken, or username and password, as Flux has them.
local function auth_of(ctx, config)
  if not config.secretRef then
    return nil
  end
  local secret = ctx.secret(config.secretRef)
  if secret.bearerToken then
    return { bearer = secret.bearerToken }
  elseif secret.username and secret.password then
    return { username = secret.username, password = secret.password }
  end
  return error {
    reason = "InvalidSpec",
    kind = "configuration",
    message = "spec.generator.http.secretRef: the Secret '"
      .. config.secretRef.name
      .. "' has neither bearerToken nor username and password",
  }
end

local function request_of(ctx, config)
  local request = {
    url = config.url,
    method = config.method,
    headers = headers_of(ctx, config),
    auth = auth_of(ctx, config),
    insecure_skip_verify = config.insecureSkipVerify,
    if_changed_since = config.method == "GET" and ctx.last_modified or nil,
  }
  if config.caBundleSecretRef then
    request.ca = ctx.secret(config.caBundleSecretRef)
  end
  if config.certSecretRef then
    local secret = ctx.secret(config.certSecretRef)
    request.certificate = secret["tls.crt"]
    request.key = secret["tls.key"]
    request.ca = request.ca or secret["ca.crt"]
  end
  return request
end

function M.generate(ctx, config)
  local response = http.request(request_of(ctx, config))
  if response.not_modified then
    return ctx.not_modified
  end
  return { data = response.body, last_modified = response.token }
end

M.examples = {
  {
    name = "the body is the data and the ETag the token",
    config = { url = "https://api.example.com/v1" },
    http = { ["https://api.example.com/v1"] = { status = 200, headers = { etag = '"v1"' }, body = "{}" } },
    expect = { data = "{}", last_modified = '"v1"' },
  },
}

return M
