/*
 * The token file of a pod. The one idea: kubelet replaces it by swapping a symlink, so what stat
 * says (another inode, another time) tells when to read it again, and reading is rare.
 */
#include "kube/token.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"

#define TOKEN_MAX ((size_t)32 << 10)
#define CHECK_MS 3000

/* Leaves nothing of it in freed memory. */
static void forget(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static struct error *set(struct token *token, const char *text, size_t length)
{
    char *header;

    while (length > 0 && strchr(" \t\r\n", text[length - 1]))
        length--;
    if (length == 0)
        return error_new(ERROR_CONFIGURATION, "InvalidToken", "the token is empty");
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return error_new(ERROR_CONFIGURATION, "InvalidToken",
                             "the token has a character that none may have");
    }
    header = format_string("Bearer %.*s", (int)length, text);
    if (!header)
        return error_out_of_memory();
    forget(token->header);
    token->header = header;
    return NULL;
}

struct error *token_init(struct token *token, const char *fixed, const char *path)
{
    *token = (struct token){.path = path};
    return fixed ? set(token, fixed, strlen(fixed)) : NULL;
}

void token_free(struct token *token)
{
    forget(token->header);
    *token = (struct token){0};
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static struct error *read_again(struct token *token)
{
    struct buffer text = BUFFER_INIT;
    struct stat now = {0};
    struct error *error;

    /* Before reading: what is written in between is noticed next time. */
    if (stat(token->path, &now) == 0 && token->read && is_same(&now, &token->seen))
        return NULL;
    error = file_read(token->path, TOKEN_MAX, &text);
    if (!error)
        error = set(token, buffer_string(&text), text.length);
    if (!error) {
        token->seen = now;
        token->read = true;
    }
    if (text.bytes)
        explicit_bzero(text.bytes, text.capacity);
    buffer_free(&text);
    return error;
}

const char *token_header(struct token *token, const struct clock *clock, struct log *log)
{
    int64_t now = clock_monotonic_ms(clock);
    _cleanup_(error) struct error *error = NULL;

    if (!token->path || (token->read && now - token->checked_ms < CHECK_MS))
        return token->header;
    token->checked_ms = now;
    error = read_again(token);
    if (error && !token->told)
        log_error(log, NULL, error, "the Kubernetes API's token file cannot be read", "file",
                  token->path, NULL);
    token->told = error != NULL;
    return token->header;
}

void token_doubt(struct token *token)
{
    token->read = false;
}
