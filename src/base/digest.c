/* See digest.h. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>

struct sha256 {
    EVP_MD_CTX *context;
};

static void write_hex(const unsigned char bytes[SHA256_DIGEST_LENGTH], char hex[SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * SHA256_DIGEST_LENGTH] = '\0';
}

struct sha256 *sha256_new(void)
{
    struct sha256 *digest = calloc(1, sizeof(*digest));

    if (!digest)
        return NULL;
    digest->context = EVP_MD_CTX_new();
    if (!digest->context || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1) {
        sha256_free(digest);
        return NULL;
    }
    return digest;
}

void sha256_update(struct sha256 *digest, const void *bytes, size_t length)
{
    EVP_DigestUpdate(digest->context, bytes, length);
}

void sha256_final(struct sha256 *digest, char hex[SHA256_HEX_SIZE])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];

    EVP_DigestFinal_ex(digest->context, bytes, NULL);
    write_hex(bytes, hex);
}

void sha256_free(struct sha256 *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

void sha256_hex(const void *bytes, size_t length, char hex[SHA256_HEX_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256(bytes, length, digest);
    write_hex(digest, hex);
}
