/*
 * yaml: kubectl's YAML, over the converters of base/yaml.h and the JSON codec, so that a value
 * means the same in both. An empty document, or one that is only null, says nothing to Kubernetes
 * and is passed over.
 */
#include "lua/lib_json.h"

#include "base/yaml.h"
#include "lua/libraries.h"

/* The documents' JSON, decoded only after the reading: nothing may raise in its midst. */
struct documents {
    struct buffer json;
    struct buffer lengths; /* of size_t */
};

static void cleanup_documents_(struct documents *documents)
{
    buffer_free(&documents->json);
    buffer_free(&documents->lengths);
}

static struct error *collect(void *context, const char *json, size_t length, size_t line)
{
    struct documents *documents = context;

    (void)line;
    if (length == 4 && json[0] == 'n')
        return NULL;
    buffer_append(&documents->json, json, length);
    buffer_append(&documents->lengths, &length, sizeof length);
    return documents->json.failed ? error_out_of_memory() : buffer_error(&documents->lengths);
}

static size_t count(const struct documents *documents)
{
    return documents->lengths.length / sizeof(size_t);
}

static void read_documents(lua_State *lua, struct documents *documents, const char *function)
{
    size_t length;
    const char *text = luaL_checklstring(lua, 1, &length);
    struct error *error = yaml_read(text, length, collect, documents);

    if (error)
        lib_raise(lua, function, error);
}

/* yaml.decode(text) -> value of the one document; json.null if there is none */
static int yaml_decode(lua_State *lua)
{
    _cleanup_(documents) struct documents documents = {BUFFER_INIT, BUFFER_INIT};
    struct error *error;

    read_documents(lua, &documents, "yaml.decode");
    if (count(&documents) > 1)
        return luaL_error(lua, "yaml.decode: the text has %d documents; use yaml.decode_all",
                          (int)count(&documents));
    if (count(&documents) == 0) {
        lib_push_null(lua);
        return 1;
    }
    error = lua_json_decode(lua, documents.json.bytes, documents.json.length);
    return error ? lib_raise(lua, "yaml.decode", error) : 1;
}

/* yaml.decode_all(text) -> list of the documents' values */
static int yaml_decode_all(lua_State *lua)
{
    _cleanup_(documents) struct documents documents = {BUFFER_INIT, BUFFER_INIT};
    size_t offset = 0;

    read_documents(lua, &documents, "yaml.decode_all");
    lua_newtable(lua);
    lib_mark_array(lua);
    for (size_t i = 0; i < count(&documents); i++) {
        size_t length = ((const size_t *)documents.lengths.bytes)[i];
        struct error *error = lua_json_decode(lua, documents.json.bytes + offset, length);

        if (error)
            return lib_raise(lua, "yaml.decode_all", error);
        lua_rawseti(lua, -2, (int)i + 1);
        offset += length;
    }
    return 1;
}

static void encode(lua_State *lua, int index, struct buffer *yaml, const char *function)
{
    _cleanup_(buffer) struct buffer json = BUFFER_INIT;
    struct error *error = lua_json_encode(lua, index, &json);

    if (!error)
        error = yaml_from_json(buffer_string(&json), json.length, yaml);
    if (!error && yaml->length > lib_bytes_max(lua))
        error = error_out_of_memory();
    if (error)
        lib_raise(lua, function, error);
}

/* yaml.encode(value) -> one document */
static int yaml_encode(lua_State *lua)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;

    luaL_checkany(lua, 1);
    encode(lua, 1, &yaml, "yaml.encode");
    lua_pushlstring(lua, buffer_string(&yaml), yaml.length);
    return 1;
}

/* yaml.encode_all(list) -> its elements as documents with "---" between them */
static int yaml_encode_all(lua_State *lua)
{
    _cleanup_(buffer) struct buffer yaml = BUFFER_INIT;
    size_t length;

    luaL_checktype(lua, 1, LUA_TTABLE);
    length = lua_objlen(lua, 1);
    for (size_t i = 1; i <= length; i++) {
        if (i > 1)
            buffer_append_string(&yaml, "---\n");
        lua_rawgeti(lua, 1, (int)i);
        encode(lua, -1, &yaml, "yaml.encode_all");
        lua_pop(lua, 1);
    }
    lua_pushlstring(lua, buffer_string(&yaml), yaml.length);
    return 1;
}

void lib_yaml_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"decode", yaml_decode},
                                         {"decode_all", yaml_decode_all},
                                         {"encode", yaml_encode},
                                         {"encode_all", yaml_encode_all},
                                         {NULL, NULL}};

    lib_new(lua, functions);
    lib_push_null(lua);
    lua_setfield(lua, -2, "null");
}
