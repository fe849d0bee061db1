/* SHA-256 over OpenSSL (FIPS 180-4), streaming. */
#ifndef SLUICE_BASE_DIGEST_H
#define SLUICE_BASE_DIGEST_H

#include <stddef.h>

#include "base/cleanup.h"

#define SHA256_HEX_SIZE 65 /* 64 digits and NUL */

struct sha256;

/* NULL without memory. */
struct sha256 *sha256_new(void);
void sha256_update(struct sha256 *digest, const void *bytes, size_t length);
/* Writes the digest in lower-case hex. The context is used up, not freed. */
void sha256_final(struct sha256 *digest, char hex[SHA256_HEX_SIZE]);
void sha256_free(struct sha256 *digest);

/* Of one run of bytes. */
void sha256_hex(const void *bytes, size_t length, char hex[SHA256_HEX_SIZE]);

CLEANUP_DEFINE(sha256, struct sha256 *, sha256_free)

#endif
