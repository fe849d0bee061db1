/* The bearer token: fixed, or in a file that is replaced now and then. Internal to src/kube. */
#ifndef SLUICE_KUBE_TOKEN_H
#define SLUICE_KUBE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

struct token {
    const char *path; /* NULL: fixed */
    char *header;     /* "Bearer ..."; NULL where there is none (yet) */
    struct stat seen; /* of the file that `header` is from */
    bool read;        /* the file has been read */
    int64_t checked_ms;
    bool told; /* that the file cannot be read */
};

/* Either of `fixed` and `path` may be NULL; `path` must outlive the token. The file wins over
 * `fixed`, which serves until it can be read. */
struct error *token_init(struct token *token, const char *fixed, const char *path)
    __attribute__((warn_unused_result));
void token_free(struct token *token); /* what it holds */

/* The Authorization header's value, or NULL where requests go without one. Looks after the file
 * every few seconds; one that cannot be read is logged, and the token known before stays. */
const char *token_header(struct token *token, const struct clock *clock, struct log *log);

/* The server does not accept it: the next token_header reads the file in any case. */
void token_doubt(struct token *token);

#endif
