/* re: a pattern on the first line, the text on those that follow. Matches lie within the text and
 * in order, and putting each match in its own place changes nothing. */
#include "fuzz_lua.h"

static const char check[] =
    "local pattern, text = (...):match '^([^\\n]*)\\n(.*)$'\n"
    "if not pattern then return end\n"
    "local ok, first, last = pcall(re.find, text, pattern)\n"
    "if not ok then return end\n"
    "assert(first == nil or first >= 1 and last >= first - 1 and last <= #text)\n"
    "local same, out = pcall(re.gsub, text, pattern, '$0')\n"
    "assert(not same or out == text)\n"
    "local split, parts = pcall(re.split, text, pattern)\n"
    "local length = 0\n"
    "for _, part in ipairs(split and parts or {}) do length = length + #part end\n"
    "assert(length <= #text and (not split or first or parts[1] == text))\n"
    "pcall(re.match, text, pattern)\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_state state;

    fuzz_lua(&state, check, data, size);
    return 0;
}
