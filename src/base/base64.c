/* See base64.h. OpenSSL encodes; its decoder is too lenient for data that must be what it was. */
#include "base/base64.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

#define ENCODE_CHUNK ((size_t)3 << 20) /* a multiple of 3, so that chunks need no padding */

void base64_encode(struct buffer *text, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;

    while (length > 0) {
        size_t chunk = length < ENCODE_CHUNK ? length : ENCODE_CHUNK;
        char *room = buffer_reserve(text, (chunk + 2) / 3 * 4);

        if (!room)
            return;
        buffer_commit(text, (size_t)EVP_EncodeBlock((unsigned char *)room, at, (int)chunk));
        at += chunk;
        length -= chunk;
    }
}

static int digit_value(char digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = digit ? strchr(digits, digit) : NULL;

    return found ? (int)(found - digits) : -1;
}

bool base64_decode(struct buffer *bytes, const char *text, size_t length)
{
    uint32_t group = 0;
    unsigned digits = 0;
    unsigned padding = 0;

    for (size_t i = 0; i < length; i++) {
        int value = digit_value(text[i]);

        if (text[i] && strchr(" \t\r\n", text[i]))
            continue;
        if (text[i] == '=' && digits + padding >= 2 && digits + padding < 4) {
            padding++;
            continue;
        }
        if (value < 0 || padding > 0)
            return false;
        group = group << 6 | (uint32_t)value;
        if (++digits < 4)
            continue;
        buffer_append(bytes, (char[]){(char)(group >> 16), (char)(group >> 8), (char)group}, 3);
        group = 0;
        digits = 0;
    }
    if (digits == 0)
        return padding == 0;
    /* Bits that the last digit has too many must be zero, or two texts would mean the same bytes.
     */
    if (digits == 1 || digits + padding != 4 || group & (digits == 2 ? 0xfU : 0x3U))
        return false;
    group <<= 6 * (4 - digits);
    buffer_append(bytes, (char[]){(char)(group >> 16), (char)(group >> 8)}, digits - 1);
    return true;
}
