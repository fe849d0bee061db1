/*
 * JSON of objects that anybody in the cluster may have written.
 *
 * The API server stores what jansson refuses: values nested thousands deep, NUL in a key, numbers
 * such as 1e20, which it writes as an integer of 21 digits. One such object would hide every other
 * in its list. So these places, and no others, are mended: what is nested too deeply becomes the
 * string API_JSON_TOO_DEEP (which no schema takes for what it stands for), a NUL in a key U+FFFD,
 * and an integer beyond 64 bits a real number, as it was for the API server.
 */
#ifndef SLUICE_KUBE_API_JSON_H
#define SLUICE_KUBE_API_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define API_JSON_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)
#define API_JSON_TOO_DEEP "(nested too deeply for sluice)"

/* Reads one value, mended where it must be. ERROR_CONFIGURATION, InvalidJSON: names line and
 * column. */
struct error *api_json_parse(const char *text, size_t length, json_t **value)
    __attribute__((warn_unused_result));

/* For who reads with jansson's own functions and API_JSON_FLAGS: is this a fault to mend? */
bool api_json_mendable(const json_error_t *fault);

/* The same as api_json_parse, where it is known already that there is something to mend. */
struct error *api_json_mend(const char *text, size_t length, json_t **value)
    __attribute__((warn_unused_result));

#endif
