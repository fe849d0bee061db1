/*
 * URLs. The one idea: nothing here reads a URL by itself. curl's parser does, and what is kept is
 * what it prints, so a host that was checked is the host that curl will ask for, however it was
 * written (0177.0.0.1, 127%2e1, EXAMPLE.com).
 */
#include "http/url.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buffer.h"

#define PEOPLE_LENGTH_MAX 512

CLEANUP_DEFINE(curlu, CURLU *, curl_url_cleanup)
CLEANUP_DEFINE(curl_text, char *, curl_free)

static struct error *refuse(const char *text, const char *why)
{
    _cleanup_(free) char *people = url_for_people(text);

    if (!people)
        return error_out_of_memory();
    return error_new(ERROR_CONFIGURATION, "InvalidURL", "'%s' is not a usable URL: %s", people,
                     why);
}

static struct error *parse_failed(const char *text, CURLUcode code)
{
    switch (code) {
    case CURLUE_OUT_OF_MEMORY:
        return error_out_of_memory();
    case CURLUE_BAD_SCHEME:
    case CURLUE_NO_HOST:
    case CURLUE_MALFORMED_INPUT:
        return refuse(text, "it must be absolute and begin with http:// or https:// and a host");
    case CURLUE_UNSUPPORTED_SCHEME:
        return refuse(text, "its scheme must be http or https");
    case CURLUE_USER_NOT_ALLOWED:
        return refuse(text, "it must not carry a user name or password; put them in a Secret");
    default:
        return refuse(text, curl_url_strerror(code));
    }
}

static void lower(char *text)
{
    for (; *text; text++) {
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
    }
}

static bool is_ascii(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text > 0x7f)
            return false;
    }
    return true;
}

static CURLUcode set_normalised(CURLU *parser, const char *text, const struct url *base)
{
    const unsigned flags = CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME;
    CURLUcode code = CURLUE_OK;

    if (base)
        code = curl_url_set(parser, CURLUPART_URL, base->text, flags);
    /* Servers write spaces and UTF-8 into Location; browsers encode them. */
    if (code == CURLUE_OK)
        code = curl_url_set(parser, CURLUPART_URL, text, base ? flags | CURLU_URLENCODE : flags);
    if (code == CURLUE_OK)
        code = curl_url_set(parser, CURLUPART_FRAGMENT, NULL, 0);
    if (code != CURLUE_OK)
        return code;

    _cleanup_(curl_text) char *host = NULL;
    code = curl_url_get(parser, CURLUPART_HOST, &host, 0);
    if (code != CURLUE_OK)
        return code;
    lower(host);
    code = curl_url_set(parser, CURLUPART_HOST, host, 0);
    if (code != CURLUE_OK)
        return code;

    /* Decoding may uncover another notation (127%2e1 is 127.1, which is 127.0.0.1): read it again.
     */
    _cleanup_(curl_text) char *printed = NULL;
    code = curl_url_get(parser, CURLUPART_URL, &printed, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(parser, CURLUPART_URL, printed, flags);
    return code;
}

/* curl's "[fe80::1%25eth0]" as "fe80::1". */
static char *host_of(const char *from_curl)
{
    if (from_curl[0] != '[')
        return strdup(from_curl);
    return strndup(from_curl + 1, strcspn(from_curl + 1, "%]"));
}

static struct error *take_apart(CURLU *parser, const char *text, struct url *url)
{
    _cleanup_(curl_text) char *whole = NULL;
    _cleanup_(curl_text) char *scheme = NULL;
    _cleanup_(curl_text) char *host = NULL;
    _cleanup_(curl_text) char *port = NULL;
    CURLUcode code = curl_url_get(parser, CURLUPART_URL, &whole, CURLU_NO_DEFAULT_PORT);

    if (code == CURLUE_OK)
        code = curl_url_get(parser, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        code = CURLUE_UNSUPPORTED_SCHEME;
    if (code == CURLUE_OK)
        code = curl_url_get(parser, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(parser, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code != CURLUE_OK)
        return parse_failed(text, code);
    /* curl would convert it by the process' locale, one way here and another there. */
    if (!is_ascii(host))
        return refuse(text, "a host name outside of ASCII must be written as xn--... (punycode)");

    /* Each reading decodes once more: what still has a '%' would be another host to curl. */
    if (host[0] != '[' && strchr(host, '%'))
        return refuse(text, "its host must not hold a '%' once it is decoded");

    url->port = (unsigned)strtoul(port, NULL, 10);
    if (url->port == 0)
        return refuse(text, "port 0 cannot be connected to");
    url->text = strdup(whole);
    url->scheme = strdup(scheme);
    url->host = host_of(host);
    if (!url->text || !url->scheme || !url->host)
        return error_out_of_memory();
    url->origin = format_string(strchr(url->host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", url->scheme,
                                url->host, url->port);
    return url->origin ? NULL : error_out_of_memory();
}

struct error *url_parse(const char *text, const struct url *base, struct url *url)
{
    _cleanup_(curlu) CURLU *parser = curl_url();
    struct error *error;
    CURLUcode code;

    *url = (struct url)URL_INIT;
    if (!parser)
        return error_out_of_memory();
    if (strlen(text) > URL_LENGTH_MAX)
        return refuse(text, "it is longer than 16384 bytes");
    code = set_normalised(parser, text, base);
    if (code != CURLUE_OK)
        return parse_failed(text, code);
    error = take_apart(parser, text, url);
    if (error)
        url_free(url);
    return error;
}

void url_free(struct url *url)
{
    free(url->text);
    free(url->scheme);
    free(url->host);
    free(url->origin);
    *url = (struct url)URL_INIT;
}

/* What curl makes of it, less the parts that may hold secrets; NULL if it makes nothing of it. */
static char *parsed_for_people(const char *text)
{
    static const CURLUPart secret[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS,
                                       CURLUPART_QUERY, CURLUPART_FRAGMENT};
    _cleanup_(curlu) CURLU *parser = curl_url();
    _cleanup_(curl_text) char *printed = NULL;

    if (!parser || curl_url_set(parser, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
        return NULL;
    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
        if (curl_url_set(parser, secret[i], NULL, 0) != CURLUE_OK)
            return NULL;
    }
    if (curl_url_get(parser, CURLUPART_URL, &printed, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
        return NULL;
    return strdup(printed);
}

char *url_for_people(const char *text)
{
    char *people = parsed_for_people(text);
    size_t length;

    /* Where no parser says what is what, anything about an "@" may be a password. */
    if (!people)
        people = strchr(text, '@') ? strdup("...") : strndup(text, strcspn(text, "?#"));
    if (!people)
        return NULL;
    length = strlen(people);
    for (size_t i = 0; i < length; i++) {
        if (people[i] <= ' ' || people[i] > '~')
            people[i] = '?';
    }
    if (length > PEOPLE_LENGTH_MAX)
        memcpy(people + PEOPLE_LENGTH_MAX - 3, "...", sizeof("..."));
    return people;
}
