/* yaml.decode_all: what it reads, yaml.encode_all writes as the same documents. */
#include "fuzz_lua.h"

static const char check[] =
    FUZZ_LUA_BEGIN "local documents = try(yaml.decode_all, text)\n"
                   "if documents == nil then return end\n"
                   "local once = json.encode(documents)\n"
                   "local again = yaml.encode_all(documents)\n"
                   "assert(json.encode(yaml.decode_all(again)) == once, again)\n"
                   "assert(yaml.encode_all(yaml.decode_all(again)) == again, again)\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_state state;

    fuzz_lua(&state, check, data, size);
    return 0;
}
