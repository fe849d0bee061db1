/* A URL, and on a second line its base: what is kept is normalised once and for all. */
#include "fuzz.h"

#include <strings.h>

#include "http/url.h"

static void check_people(const char *text)
{
    _cleanup_(free) char *people = url_for_people(text);

    CHECK(people && strlen(people) <= 512);
    for (const char *at = people; *at; at++)
        CHECK(*at > ' ' && *at <= '~');
}

static void check_usable(const struct url *url)
{
    _cleanup_(url) struct url again = URL_INIT;

    CHECK(strcmp(url->scheme, "http") == 0 || strcmp(url->scheme, "https") == 0);
    CHECK(url->port >= 1 && url->port <= 65535);
    CHECK(*url->host && !strpbrk(url->host, "[]%@/?#ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    CHECK(strncmp(url->origin, url->scheme, strlen(url->scheme)) == 0);
    CHECK(!strchr(url->text, '#'));
    if (strlen(url->text) > URL_LENGTH_MAX) /* encoding made it longer */
        return;
    CHECK(!url_parse(url->text, NULL, &again));
    CHECK(strcmp(url->text, again.text) == 0 && strcmp(url->origin, again.origin) == 0);
    CHECK(strcmp(url->host, again.host) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = fuzz_text(data, size);
    const char *second = fuzz_cut_line(text);
    _cleanup_(url) struct url base = URL_INIT;
    _cleanup_(url) struct url url = URL_INIT;

    check_people(text);
    bool has_base =
        *second && !fuzz_failed(url_parse(second, NULL, &base), ERROR_CONFIGURATION, "InvalidURL");
    if (!fuzz_failed(url_parse(text, has_base ? &base : NULL, &url), ERROR_CONFIGURATION,
                     "InvalidURL"))
        check_usable(&url);
    return 0;
}
