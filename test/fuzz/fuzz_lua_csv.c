/* csv.decode: what it reads, csv.encode writes as the same records, whatever the options. */
#include "fuzz_lua.h"

static const char check[] =
    "local text = ...\n"
    "local function records(rows)\n"
    "  for _, row in ipairs(rows) do for i, field in ipairs(row) do row[i] = hex.encode(field) end "
    "end\n"
    "  return json.encode(rows)\n"
    "end\n"
    "for _, separator in ipairs { ',', '\\t', ';' } do\n"
    "  for _, crlf in ipairs { false, true } do\n"
    "    local ok, rows = pcall(csv.decode, text, { separator = separator })\n"
    "    if ok then\n"
    "      local options = { separator = separator, crlf = crlf }\n"
    "      local again = csv.encode(rows, options)\n"
    "      local read = csv.decode(again, { separator = separator })\n"
    "      assert(csv.encode(read, options) == again)\n"
    "      assert(records(read) == records(rows))\n"
    "    end\n"
    "  end\n"
    "  pcall(csv.decode, text, { separator = separator, header = true })\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_state state;

    fuzz_lua(&state, check, data, size);
    return 0;
}
