/* Kubeconfigs and what pods are given: what is read, and how faults are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "kube/config.h"
#include "kube/config_sources.h"
#include "kube/kube.h"

/* "PEM" and "KEY" in base64 stand for certificates: nothing looks into them before TLS does. */
#define GOOD_CLUSTER "clusters: [{name: c, cluster: {server: 'https://h:6443/'}}]\n"
#define GOOD_USER "users: [{name: u, user: {token: t}}]\n"
#define GOOD_CONTEXT "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
#define CURRENT "current-context: x\n"

struct scratch {
    char directory[64];
};

static int scratch_make(void **state)
{
    struct scratch *scratch = calloc(1, sizeof(*scratch));

    snprintf(scratch->directory, sizeof(scratch->directory), "/tmp/sluice-kube-XXXXXX");
    assert_non_null(mkdtemp(scratch->directory));
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
    setenv("HOME", scratch->directory, 1);
    *state = scratch;
    return 0;
}

static int scratch_remove(void **state)
{
    struct scratch *scratch = *state;
    _cleanup_(free) char *command = format_string("rm -rf '%s'", scratch->directory);

    assert_int_equal(system(command), 0);
    free(scratch);
    return 0;
}

/* Writes a file into the scratch directory and returns its path. */
static char *write_file(const struct scratch *scratch, const char *name, const char *text)
{
    char *path = path_join(scratch->directory, name);
    char *slash = strrchr(path, '/');

    *slash = '\0';
    assert_null(file_make_directories(path));
    *slash = '/';
    assert_null(file_write_atomically(path, text, strlen(text)));
    return path;
}

static struct kube_config *load_text(const struct scratch *scratch, const char *text)
{
    _cleanup_(free) char *path = write_file(scratch, "config", text);
    struct kube_config *config = NULL;
    struct error *error = kube_config_load(path, &config);

    if (error)
        fail_msg("%s", error->message);
    return config;
}

static void assert_refused(struct error *taken, const char *part)
{
    _cleanup_(error) struct error *error = taken;

    if (!error)
        fail_msg("accepted; expected: %s", part);
    assert_int_equal(error->kind, ERROR_CONFIGURATION);
    assert_string_equal(error->reason, "InvalidKubeconfig");
    if (!strstr(error->message, part))
        fail_msg("expected '%s' in '%s'", part, error->message);
    assert_null(strstr(error->message, "hidden"));
}

struct bad {
    const char *text;
    const char *told;
};

static const struct bad bad[] = {
    {"", "config: is no kubeconfig; accepted: a document with clusters, users, contexts"},
    {"[]", "config: is no kubeconfig"},
    {"a: [", "config: line 2 column 1: "},
    {GOOD_CLUSTER GOOD_USER GOOD_CONTEXT, "config: current-context: missing; accepted: the name"},
    {GOOD_CLUSTER GOOD_USER GOOD_CONTEXT "current-context: 7",
     "config: current-context: found the number 7; accepted: a string"},
    {GOOD_CLUSTER GOOD_USER GOOD_CONTEXT "current-context: z\n",
     "config: current-context: found 'z', which is not in contexts; accepted: 'x'"},
    {CURRENT, "current-context: found 'x', which is not in contexts; accepted: none"},
    {CURRENT "contexts: {name: x}", "found 'x', which is not in contexts"},
    {CURRENT "contexts: [7, null, {name: 1}, {name: x}]",
     "contexts['x'].context: missing, or no object"},
    {CURRENT GOOD_CONTEXT GOOD_USER "clusters: [{name: other}]",
     "contexts['x'].cluster: found 'c', which is not in clusters; accepted: 'other'"},
    {CURRENT "contexts: [{name: x, context: {}}]", "contexts['x'].cluster: found ''"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: null",
     "contexts['x'].user: found 'u', which is not in users"},
    {CURRENT "contexts: [{name: x, context: {cluster: [c]}}]",
     "contexts['x'].cluster: found a list; accepted: a string"},
    {CURRENT GOOD_CONTEXT GOOD_USER "clusters: [{name: c, cluster: {}}]",
     "clusters['c'].server: '' is not a usable URL: "},
    {CURRENT GOOD_CONTEXT GOOD_USER "clusters: [{name: c, cluster: {server: 'h:6443'}}]",
     "clusters['c'].server: 'h:6443' is not a usable URL: "},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://me:hidden@h'}}]",
     "it must not carry a user name or password"},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://h', proxy-url: 'http://p'}}]",
     "clusters['c'].proxy-url: is not supported; accepted: server, certificate-authority"},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://h', tls-server-name: n}}]",
     "clusters['c'].tls-server-name: is not supported"},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: '!!'}}]",
     "clusters['c'].certificate-authority-data: is not valid base64"},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: 'AAAA'}}]",
     "clusters['c'].certificate-authority-data: is not PEM encoded in base64"},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority: gone.pem}}]",
     "/gone.pem: no such file"},
    {CURRENT GOOD_CONTEXT GOOD_USER
     "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: UEVN, "
     "insecure-skip-tls-verify: true}}]",
     "clusters['c'].insecure-skip-tls-verify: found true beside a certificate-authority"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {exec: {command: aws}}}]",
     "users['u'].exec: is not supported; accepted: token, tokenFile, client-certificate and"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {auth-provider: {name: gcp}}}]",
     "users['u'].auth-provider: is not supported"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {as: someone, token: hidden}}]",
     "users['u'].as: is not supported"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {as-groups: [g]}}]",
     "users['u'].as-groups: is not supported"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {username: n, password: hidden}}]",
     "users['u'].username: is not supported"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {client-key-data: aGlkZGVu}}]",
     "users['u']: found client-key alone; accepted: client-certificate and client-key together"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {client-certificate-data: UEVN}}]",
     "users['u']: found client-certificate alone"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {token: 17}}]",
     "users['u'].token: found the number 17; accepted: a string"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {token: \"hid\\0den\"}}]",
     "users['u'].token: holds a NUL character"},
    {CURRENT GOOD_CONTEXT GOOD_CLUSTER "users: [{name: u, user: {tokenFile: gone}}]",
     "users['u'].tokenFile: "},
};

static void a_bad_kubeconfig_is_refused_with_file_and_field(void **state)
{
    const struct scratch *scratch = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_(free) char *path = write_file(scratch, "config", bad[i].text);
        struct kube_config *config = NULL;
        struct error *error = kube_config_load(path, &config);

        if (error && !strstr(error->message, path))
            fail_msg("%s does not name %s", error->message, path);
        assert_refused(error, bad[i].told);
        assert_null(config);
    }
}

static void a_token_is_read(void **state)
{
    _cleanup_(kube_config) struct kube_config *config =
        load_text(*state, CURRENT GOOD_CONTEXT GOOD_USER GOOD_CLUSTER);

    assert_string_equal(config->server, "https://h:6443");
    assert_string_equal(config->token, "t");
    assert_null(config->token_file);
    assert_null(config->ca_bundle);
    assert_null(config->client_certificate);
    assert_string_equal(config->namespace_name, "default");
    assert_false(config->insecure_skip_verify);
}

static void json_is_a_kubeconfig_too(void **state)
{
    _cleanup_(kube_config) struct kube_config *config = load_text(
        *state,
        "{\"clusters\": [{\"name\": \"c\", \"cluster\": {\"server\": \"HTTPS://h/k8s/\", "
        "\"insecure-skip-tls-verify\": true}}], \"contexts\": [{\"name\": \"x\", \"context\": "
        "{\"cluster\": \"c\", \"namespace\": \"n\"}}], \"current-context\": \"x\"}");

    assert_string_equal(config->server, "https://h/k8s");
    assert_string_equal(config->namespace_name, "n");
    assert_true(config->insecure_skip_verify);
    assert_null(config->token);
}

static void data_in_the_file_wins_over_named_files(void **state)
{
    _cleanup_(kube_config) struct kube_config *config =
        load_text(*state, CURRENT GOOD_CONTEXT
                  "clusters: [{name: c, cluster: {server: 'https://h', "
                  "certificate-authority-data: UEVN, certificate-authority: gone}}]\n"
                  "users: [{name: u, user: {client-certificate-data: UEVN, "
                  "client-key-data: S0VZ, client-key: gone}}]\n");

    assert_string_equal(config->ca_bundle, "PEM");
    assert_string_equal(config->client_certificate, "PEM");
    assert_string_equal(config->client_key, "KEY");
    assert_non_null(strstr(config->ca_name, "certificate-authority-data of cluster 'c' in "));
}

static void relative_paths_count_from_the_kubeconfig(void **state)
{
    const struct scratch *scratch = *state;
    _cleanup_(free) char *ca = write_file(scratch, "pki/ca.crt", "CA");
    _cleanup_(free) char *certificate = write_file(scratch, "deep/me.crt", "CERTIFICATE");
    _cleanup_(free) char *key = write_file(scratch, "me.key", "KEY");
    _cleanup_(free) char *token = write_file(scratch, "deep/token", "hidden");
    _cleanup_(free) char *text = format_string(
        CURRENT GOOD_CONTEXT "clusters: [{name: c, cluster: {server: 'https://h', "
                             "certificate-authority: ../pki/ca.crt}}]\n"
                             "users: [{name: u, user: {client-certificate: me.crt, client-key: "
                             "%s, tokenFile: ./token}}]\n",
        key);
    _cleanup_(free) char *path = write_file(scratch, "deep/config", text);
    _cleanup_(kube_config) struct kube_config *config = NULL;

    assert_null(kube_config_load(path, &config));
    assert_string_equal(config->ca_bundle, "CA");
    assert_string_equal(config->client_certificate, "CERTIFICATE");
    assert_string_equal(config->client_key, "KEY");
    assert_string_equal(strrchr(config->token_file, '/'), "/token");
    assert_int_equal(access(config->token_file, R_OK), 0);
    assert_null(config->token);
}

static void of_several_files_the_first_that_says_something_counts(void **state)
{
    const struct scratch *scratch = *state;
    _cleanup_(free) char *first =
        write_file(scratch, "first", "clusters: [{name: c, cluster: {server: 'https://one'}}]\n");
    _cleanup_(free) char *second = write_file(
        scratch, "second",
        CURRENT GOOD_CONTEXT GOOD_USER "clusters: [{name: c, cluster: {server: 'https://two'}}]\n");
    _cleanup_(free) char *third = write_file(scratch, "third", "current-context: other\n");
    _cleanup_(free) char *list =
        format_string(":%s:%s/missing:%s:%s", first, scratch->directory, second, third);
    _cleanup_(kube_config) struct kube_config *config = NULL;

    setenv("KUBECONFIG", list, 1);
    assert_null(kube_config_load(NULL, &config));
    assert_string_equal(config->server, "https://one");
    assert_string_equal(config->token, "t");
}

static void a_file_named_by_the_caller_wins_over_the_environment(void **state)
{
    setenv("KUBECONFIG", "/nowhere", 1);
    kube_config_free(load_text(*state, CURRENT GOOD_CONTEXT GOOD_USER GOOD_CLUSTER));
}

static void files_that_are_all_missing_are_named(void **state)
{
    struct kube_config *config = NULL;

    (void)state;
    assert_refused(kube_config_load("/nowhere/config", &config),
                   "kubeconfig /nowhere/config: no such file");
    setenv("KUBECONFIG", "/nowhere/a:/nowhere/b", 1);
    assert_refused(kube_config_load(NULL, &config), "/nowhere/a:/nowhere/b: no such file");
}

static void the_home_directory_is_the_last_resort(void **state)
{
    const struct scratch *scratch = *state;
    _cleanup_(kube_config) struct kube_config *config = NULL;

    assert_refused(kube_config_load(NULL, &config),
                   "no way to the Kubernetes API: no kubeconfig was named, KUBECONFIG is not set, "
                   "this is no pod, and there is no ");
    free(write_file(scratch, ".kube/config", CURRENT GOOD_CONTEXT GOOD_USER GOOD_CLUSTER));
    assert_null(kube_config_load(NULL, &config));
    assert_string_equal(config->server, "https://h:6443");
}

static void credentials_are_for_tls_alone(void **state)
{
    _cleanup_(kube_config) struct kube_config *config =
        load_text(*state, CURRENT GOOD_CONTEXT GOOD_USER
                  "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:8001'}}]\n");

    assert_string_equal(config->server, "http://127.0.0.1:8001");
    assert_null(config->token);
}

static void a_server_is_known_for_plain_http_however_it_is_written(void **state)
{
    _cleanup_(kube_config) struct kube_config *config =
        load_text(*state, CURRENT GOOD_CONTEXT GOOD_USER
                  "clusters: [{name: c, cluster: {server: 'HTTP:/127.1:8001'}}]\n");

    assert_string_equal(config->server, "http://127.0.0.1:8001");
    assert_null(config->token);
}

static void a_pod_uses_its_service_account(void **state)
{
    const struct scratch *scratch = *state;
    _cleanup_(free) char *token = write_file(scratch, "token", "hidden");
    _cleanup_(free) char *ca = write_file(scratch, "ca.crt", "CA");
    _cleanup_(free) char *name = write_file(scratch, "namespace", "flux-system\n");
    _cleanup_(kube_config) struct kube_config *config = calloc(1, sizeof(*config));

    assert_null(config_read_pod(scratch->directory, "10.96.0.1", "443", config));
    assert_string_equal(config->server, "https://10.96.0.1:443");
    assert_string_equal(config->token_file, token);
    assert_null(config->token);
    assert_string_equal(config->ca_bundle, "CA");
    assert_string_equal(config->ca_name, ca);
    assert_string_equal(config->namespace_name, "flux-system");
}

static void a_pod_with_ipv6_gets_brackets(void **state)
{
    const struct scratch *scratch = *state;
    _cleanup_(kube_config) struct kube_config *config = calloc(1, sizeof(*config));

    free(write_file(scratch, "token", "hidden"));
    free(write_file(scratch, "ca.crt", "CA"));
    assert_null(config_read_pod(scratch->directory, "fd00::1", "443", config));
    assert_string_equal(config->server, "https://[fd00::1]:443");
    assert_string_equal(config->namespace_name, "default");
}

static void a_pod_without_a_token_is_told_what_it_lacks(void **state)
{
    const struct scratch *scratch = *state;
    _cleanup_(kube_config) struct kube_config *config = calloc(1, sizeof(*config));

    assert_refused(config_read_pod(scratch->directory, "10.96.0.1", "443", config),
                   "/token: no such file; a pod needs a service account with "
                   "automountServiceAccountToken");
}

static void inside_of_a_pod_its_own_account_counts_before_the_home_directory(void **state)
{
    const struct scratch *scratch = *state;
    struct kube_config *config = NULL;

    if (access(KUBE_POD_DIRECTORY, F_OK) == 0)
        skip();
    free(write_file(scratch, ".kube/config", CURRENT GOOD_CONTEXT GOOD_USER GOOD_CLUSTER));
    setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_refused(kube_config_load(NULL, &config), KUBE_POD_DIRECTORY "/token: no such file");
}

static void a_copy_has_everything(void **state)
{
    _cleanup_(kube_config) struct kube_config *copy = NULL;
    struct kube_config config = {
        .server = (char *)"a",
        .ca_bundle = (char *)"b",
        .ca_name = (char *)"c",
        .client_certificate = (char *)"d",
        .client_key = (char *)"e",
        .token = (char *)"f",
        .token_file = (char *)"g",
        .insecure_skip_verify = true,
        .namespace_name = (char *)"h",
    };

    (void)state;
    copy = kube_config_copy(&config);
    assert_string_equal(copy->server, "a");
    assert_string_equal(copy->ca_bundle, "b");
    assert_string_equal(copy->ca_name, "c");
    assert_string_equal(copy->client_certificate, "d");
    assert_string_equal(copy->client_key, "e");
    assert_string_equal(copy->token, "f");
    assert_string_equal(copy->token_file, "g");
    assert_true(copy->insecure_skip_verify);
    assert_string_equal(copy->namespace_name, "h");
}

struct path_case {
    const char *namespace_name, *name, *subresource, *path;
};

static void no_name_makes_another_path(void **state)
{
    static const struct path_case cases[] = {
        {NULL, NULL, NULL, "/api/v1/configmaps"},
        {"n", NULL, NULL, "/api/v1/namespaces/n/configmaps"},
        {"n", "a.b-c", NULL, "/api/v1/namespaces/n/configmaps/a.b-c"},
        {"n", "a", "status", "/api/v1/namespaces/n/configmaps/a/status"},
        {NULL, "a", NULL, "/api/v1/configmaps/a"},
        {"n", NULL, "status", "/api/v1/namespaces/n/configmaps"},
        {"a/b", "c?d#e%f", NULL, "/api/v1/namespaces/a%2Fb/configmaps/c%3Fd%23e%25f"},
        {"n", "..", NULL, "/api/v1/namespaces/n/configmaps/%20.."},
        {"..", ".", NULL, "/api/v1/namespaces/%20../configmaps/%20."},
        {"", "", NULL, "/api/v1/namespaces/%20/configmaps/%20"},
        {"n", "\xc3\xbc \r\n", NULL, "/api/v1/namespaces/n/configmaps/%C3%BC%20%0D%0A"},
    };
    const struct kube_resource maps = {"/api/v1", "configmaps"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(free) char *path =
            kube_path(&maps, cases[i].namespace_name, cases[i].name, cases[i].subresource);

        assert_string_equal(path, cases[i].path);
    }
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_bad_kubeconfig_is_refused_with_file_and_field),
        IN_SCRATCH(a_token_is_read),
        IN_SCRATCH(json_is_a_kubeconfig_too),
        IN_SCRATCH(data_in_the_file_wins_over_named_files),
        IN_SCRATCH(relative_paths_count_from_the_kubeconfig),
        IN_SCRATCH(of_several_files_the_first_that_says_something_counts),
        IN_SCRATCH(a_file_named_by_the_caller_wins_over_the_environment),
        IN_SCRATCH(files_that_are_all_missing_are_named),
        IN_SCRATCH(the_home_directory_is_the_last_resort),
        IN_SCRATCH(credentials_are_for_tls_alone),
        IN_SCRATCH(a_server_is_known_for_plain_http_however_it_is_written),
        IN_SCRATCH(a_pod_uses_its_service_account),
        IN_SCRATCH(a_pod_with_ipv6_gets_brackets),
        IN_SCRATCH(a_pod_without_a_token_is_told_what_it_lacks),
        IN_SCRATCH(inside_of_a_pod_its_own_account_counts_before_the_home_directory),
        cmocka_unit_test(a_copy_has_everything),
        cmocka_unit_test(no_name_makes_another_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
