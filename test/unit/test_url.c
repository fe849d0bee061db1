/* URLs: what is kept is what curl will ask for, and what people see holds no secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "http/url.h"

static const struct {
    const char *text;
    const char *base; /* NULL for an absolute one */
    const char *normalised;
    const char *origin;
    const char *host;
    unsigned port;
} usable[] = {
    {"http://example.com", NULL, "http://example.com/", "http://example.com:80", "example.com", 80},
    {"HTTPS://EXAMPLE.Com:443/a#b", NULL, "https://example.com/a", "https://example.com:443",
     "example.com", 443},
    {"https://h:8443/a?b=c%20d", NULL, "https://h:8443/a?b=c%20d", "https://h:8443", "h", 8443},
    {"http://0177.0.0.1/", NULL, "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", 80},
    {"http://2130706433/", NULL, "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", 80},
    {"http://127.1:81/", NULL, "http://127.0.0.1:81/", "http://127.0.0.1:81", "127.0.0.1", 81},
    {"http://0x7f.1/", NULL, "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", 80},
    {"http://127%2e1/", NULL, "http://127.0.0.1/", "http://127.0.0.1:80", "127.0.0.1", 80},
    {"http://%6cocalhost/", NULL, "http://localhost/", "http://localhost:80", "localhost", 80},
    {"http://[::1]:8080/x", NULL, "http://[::1]:8080/x", "http://[::1]:8080", "::1", 8080},
    {"https://h/a/../b/./c", NULL, "https://h/b/c", "https://h:443", "h", 443},
    {"/b?x=1", "https://h/a/c?d", "https://h/b?x=1", "https://h:443", "h", 443},
    {"b", "https://h/a/c?d", "https://h/a/b", "https://h:443", "h", 443},
    {"../b", "https://h/a/c/d", "https://h/a/b", "https://h:443", "h", 443},
    {"?q=2", "https://h/a/c?d", "https://h/a/c?q=2", "https://h:443", "h", 443},
    {"//other/x", "https://h/a", "https://other/x", "https://other:443", "other", 443},
    {"http://plain/", "https://h/a", "http://plain/", "http://plain:80", "plain", 80},
    {"/with space/\xc3\xa9", "https://h/a", "https://h/with%20space/%c3%a9", "https://h:443", "h",
     443},
};

static void an_url_is_normalised_as_curl_reads_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(usable) / sizeof(usable[0]); i++) {
        struct url base = URL_INIT;
        struct url url;

        if (usable[i].base)
            assert_null(url_parse(usable[i].base, NULL, &base));
        struct error *error = url_parse(usable[i].text, usable[i].base ? &base : NULL, &url);
        if (error)
            fail_msg("%s: %s", usable[i].text, error->message);
        assert_string_equal(url.text, usable[i].normalised);
        assert_string_equal(url.origin, usable[i].origin);
        assert_string_equal(url.host, usable[i].host);
        assert_int_equal(url.port, usable[i].port);
        url_free(&url);
        url_free(&base);
    }
}

static const struct {
    const char *text;
    const char *message;
} refused[] = {
    {"",
     "'' is not a usable URL: it must be absolute and begin with http:// or https:// and a host"},
    {"example.com/x", "'example.com/x' is not a usable URL: it must be absolute and begin with "
                      "http:// or https:// and a host"},
    {"/path", "'/path' is not a usable URL: it must be absolute"},
    {"ftp://h/x", "'ftp://h/x' is not a usable URL: its scheme must be http or https"},
    {"file:///etc/passwd", "must be absolute and begin with http:// or https:// and a host"},
    {"https://user:secret@h/x?token=secret",
     "'https://h/x' is not a usable URL: it must not carry a "
     "user name or password; put them in a Secret"},
    {"https://user@h/x", "'https://h/x' is not a usable URL: it must not carry"},
    {"http://h:0/", "port 0 cannot be connected to"},
    {"http://h:99999/", "'http://h:99999/' is not a usable URL: "},
    {"http://a b/", "'http://a?b/' is not a usable URL: "},
    {"http://h/\r\nX: y", "'http://h/??X:?y' is not a usable URL: "},
    {"http://", "must be absolute"},
    {"http://b\xc3\xbc"
     "cher.example/",
     "a host name outside of ASCII must be written as xn--... (punycode)"},
    {"http://127%25252e1/", "its host must not hold a '%' once it is decoded"},
    {"http://a%1/", "its host must not hold a '%' once it is decoded"},
    {"http://b%c3%bccher.example/", "must be written as xn--... (punycode)"},
};

static void an_url_that_cannot_be_asked_for_is_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct url url;
        struct error *error = url_parse(refused[i].text, NULL, &url);

        if (!error)
            fail_msg("'%s' was taken for %s", refused[i].text, url.text);
        assert_int_equal(error->kind, ERROR_CONFIGURATION);
        assert_string_equal(error->reason, "InvalidURL");
        if (!strstr(error->message, refused[i].message))
            fail_msg("'%s': %s", refused[i].text, error->message);
        assert_null(strstr(error->message, "secret@"));
        assert_null(url.text);
        error_free(error);
    }
}

static void an_overlong_url_is_refused(void **state)
{
    char *text = malloc(URL_LENGTH_MAX + 2);
    struct url url;

    (void)state;
    memset(text, 'a', URL_LENGTH_MAX + 1);
    memcpy(text, "http://h/", strlen("http://h/"));
    text[URL_LENGTH_MAX + 1] = '\0';
    struct error *error = url_parse(text, NULL, &url);
    assert_non_null(error);
    assert_non_null(strstr(error->message, "longer than 16384 bytes"));
    error_free(error);
    free(text);
}

static const struct {
    const char *text;
    const char *people;
} shown[] = {
    {"https://h/p?token=s#f", "https://h/p"},
    {"https://u:p@h:8443/@scope/x?q", "https://h:8443/@scope/x"},
    {"https://h:443/", "https://h/"},
    {"not a url?token=s", "not?a?url"},
    {"https://u:p/s@h/x", "..."},
    {"", ""},
};

static void people_see_an_url_without_its_secrets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        char *people = url_for_people(shown[i].text);

        assert_string_equal(people, shown[i].people);
        free(people);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_url_is_normalised_as_curl_reads_it),
        cmocka_unit_test(an_url_that_cannot_be_asked_for_is_refused_with_a_reason),
        cmocka_unit_test(an_overlong_url_is_refused),
        cmocka_unit_test(people_see_an_url_without_its_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
