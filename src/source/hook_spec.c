/* See hook_spec.h. */
#include "source/hook_spec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

#define ONE_OF                                                                       \
    "exactly one of 'command' (whitelisted), 'lua' (inline transform), 'module' or " \
    "'luaFrom' (a transform in a ConfigMap)"

static const char *const hook_fields[] = {"name", "command", "args",   "timeout", "retryPolicy",
                                          "env",  "lua",     "module", "luaFrom"};
static const char *const lua_from_fields[] = {"configMapKeyRef"};
static const char *const key_ref_fields[] = {"name", "key"};
static const char *const env_fields[] = {"name", "value", "valueFrom"};

static void read_arguments(struct field_reader *reader, const json_t *object,
                           struct hook_spec *hook)
{
    const json_t *list = field_list(reader, object, hook->path, "args");
    size_t count = json_array_size(list);
    const char **arguments;

    if (count == 0)
        return;
    if (hook->kind != HOOK_COMMAND) {
        field_fault(reader, hook->path, "args", list, "'args' with 'command' only; use 'env'");
        return;
    }
    arguments = calloc(count, sizeof(char *));
    if (!arguments) {
        field_fault_message(reader, hook->path, "args", "out of memory");
        return;
    }
    hook->arguments = arguments;
    hook->argument_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);

        arguments[i] = json_string_value(item);
        if (!arguments[i] || strlen(arguments[i]) != json_string_length(item))
            field_fault(reader, hook->path, "args", item, "a list of strings");
    }
}

static bool variable_name_valid(const char *name)
{
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_')
            return false;
    }
    return true;
}

static void read_variable(struct field_reader *reader, const json_t *item, const char *path,
                          struct hook_variable *variable)
{
    if (!json_is_object(item)) {
        field_fault(reader, path, NULL, item, "an object with 'name' and 'value'");
        return;
    }
    field_check_names(reader, item, path, env_fields, sizeof(env_fields) / sizeof(env_fields[0]));
    if (field_get(item, "valueFrom"))
        field_fault_message(reader, path, "valueFrom",
                            "hooks never see secrets; authenticate in the generator instead, and "
                            "give hooks plain values with 'value'");
    variable->name = field_string(reader, item, path, "name", NULL);
    variable->value = field_string(reader, item, path, "value", "");
    if (!variable->name || !variable_name_valid(variable->name))
        field_fault(reader, path, "name", field_get(item, "name"),
                    "a variable's name: letters, digits and '_', not beginning with a digit");
}

static void read_env(struct field_reader *reader, const json_t *object, struct hook_spec *hook)
{
    const json_t *list = field_list(reader, object, hook->path, "env");
    size_t count = json_array_size(list);
    struct hook_variable *env;

    if (count == 0)
        return;
    env = calloc(count, sizeof(*env));
    if (!env) {
        field_fault_message(reader, hook->path, "env", "out of memory");
        return;
    }
    hook->env = env;
    hook->env_count = count;
    for (size_t i = 0; i < count && !reader->error; i++) {
        _cleanup_(free) char *path = format_string("%s.env[%zu]", hook->path, i);

        read_variable(reader, json_array_get(list, i), path ? path : hook->path, &env[i]);
    }
}

static void read_lua_from(struct field_reader *reader, const json_t *object, struct hook_spec *hook)
{
    _cleanup_(free) char *path = format_string("%s.luaFrom", hook->path);
    _cleanup_(free) char *ref_path = format_string("%s.luaFrom.configMapKeyRef", hook->path);
    const json_t *from = field_object(reader, object, hook->path, "luaFrom");

    if (!path || !ref_path) {
        field_fault_message(reader, hook->path, "luaFrom", "out of memory");
        return;
    }
    field_check_names(reader, from, path, lua_from_fields, 1);
    const json_t *ref = field_object(reader, from, path, "configMapKeyRef");
    if (!ref) {
        field_fault(reader, path, "configMapKeyRef", NULL, "an object with 'name' and 'key'");
        return;
    }
    field_check_names(reader, ref, ref_path, key_ref_fields, 2);
    hook->config_map = field_string(reader, ref, ref_path, "name", NULL);
    hook->config_map_key = field_string(reader, ref, ref_path, "key", NULL);
    if (!hook->config_map || !*hook->config_map)
        field_fault(reader, ref_path, "name", field_get(ref, "name"), "a ConfigMap's name");
    if (!hook->config_map_key || !*hook->config_map_key)
        field_fault(reader, ref_path, "key", field_get(ref, "key"), "a key of that ConfigMap");
}

static void read_kind(struct field_reader *reader, const json_t *object, struct hook_spec *hook)
{
    hook->command = field_string(reader, object, hook->path, "command", NULL);
    hook->lua = field_string(reader, object, hook->path, "lua", NULL);
    hook->module = field_string(reader, object, hook->path, "module", NULL);
    unsigned given = (hook->command != NULL) + (hook->lua != NULL) + (hook->module != NULL) +
                     (field_get(object, "luaFrom") != NULL);

    if (given != 1) {
        field_fault_message(reader, hook->path, NULL, "found %s; accepted: " ONE_OF,
                            given > 1 ? "more than one of them" : "none of them");
        return;
    }
    hook->kind = hook->command  ? HOOK_COMMAND
                 : hook->lua    ? HOOK_LUA
                 : hook->module ? HOOK_MODULE
                                : HOOK_LUA_FROM;
    if (hook->kind == HOOK_LUA_FROM)
        read_lua_from(reader, object, hook);
    hook->lua_length = hook->lua ? strlen(hook->lua) : 0;
    if (hook->command && !*hook->command)
        field_fault(reader, hook->path, "command", field_get(object, "command"),
                    "a command's name");
    if (hook->module && !*hook->module)
        field_fault(reader, hook->path, "module", field_get(object, "module"), "a module's name");
}

static void read_retry(struct field_reader *reader, const json_t *object, struct hook_spec *hook)
{
    const char *policy = field_string(reader, object, hook->path, "retryPolicy", "fail");

    if (strcmp(policy, "fail") == 0)
        hook->retry = HOOK_RETRY_FAIL;
    else if (strcmp(policy, "ignore") == 0)
        hook->retry = HOOK_RETRY_IGNORE;
    else if (strcmp(policy, "retry") == 0)
        hook->retry = HOOK_RETRY_RETRY;
    else
        field_fault(reader, hook->path, "retryPolicy", field_get(object, "retryPolicy"),
                    "ignore, retry or fail");
}

/* "spec.hooks.postRequest[0]" ends in what an unnamed hook is called in messages. */
static const char *name_from_path(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

static void read_hook(struct field_reader *reader, const json_t *object, struct hook_spec *hook)
{
    if (!json_is_object(object)) {
        field_fault(reader, hook->path, NULL, object, "an object");
        return;
    }
    field_check_names(reader, object, hook->path, hook_fields,
                      sizeof(hook_fields) / sizeof(hook_fields[0]));
    hook->name = field_string(reader, object, hook->path, "name", name_from_path(hook->path));
    hook->timeout_ms =
        field_duration(reader, object, hook->path, "timeout", 1, SPEC_HOOK_TIMEOUT_MS);
    read_kind(reader, object, hook);
    read_retry(reader, object, hook);
    read_arguments(reader, object, hook);
    read_env(reader, object, hook);
}

void hook_list_read(struct field_reader *reader, const json_t *hooks, const char *key,
                    struct hook_list *list)
{
    const json_t *array = field_list(reader, hooks, "spec.hooks", key);
    size_t count = json_array_size(array);

    if (count == 0)
        return;
    list->hooks = calloc(count, sizeof(*list->hooks));
    if (!list->hooks) {
        field_fault_message(reader, "spec.hooks", key, "out of memory");
        return;
    }
    list->count = count;
    for (size_t i = 0; i < count && !reader->error; i++) {
        list->hooks[i].path = format_string("spec.hooks.%s[%zu]", key, i);
        if (list->hooks[i].path)
            read_hook(reader, json_array_get(array, i), &list->hooks[i]);
        else
            field_fault_message(reader, "spec.hooks", key, "out of memory");
    }
}

void hook_list_free(struct hook_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free((char *)list->hooks[i].path);
        free((void *)list->hooks[i].arguments);
        free((void *)list->hooks[i].env);
    }
    free(list->hooks);
    *list = (struct hook_list){NULL, 0};
}
