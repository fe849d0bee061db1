/* UTF-8 by the table of well-formed byte sequences in RFC 3629, section 4. */
#include "base/utf8.h"

static bool continues(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t utf8_decode(const char *text, size_t length, uint32_t *code_point)
{
    const unsigned char *bytes = (const unsigned char *)text;

    if (length == 0)
        return 0;
    if (bytes[0] < 0x80) {
        *code_point = bytes[0];
        return 1;
    }
    if (bytes[0] >= 0xC2 && bytes[0] <= 0xDF && length >= 2 && continues(bytes[1])) {
        *code_point = (bytes[0] & 0x1FU) << 6 | (bytes[1] & 0x3FU);
        return 2;
    }
    if (bytes[0] >= 0xE0 && bytes[0] <= 0xEF && length >= 3 && continues(bytes[1]) &&
        continues(bytes[2])) {
        *code_point = (bytes[0] & 0x0FU) << 12 | (bytes[1] & 0x3FU) << 6 | (bytes[2] & 0x3FU);
        return *code_point >= 0x800 && (*code_point < 0xD800 || *code_point > 0xDFFF) ? 3 : 0;
    }
    if (bytes[0] >= 0xF0 && bytes[0] <= 0xF4 && length >= 4 && continues(bytes[1]) &&
        continues(bytes[2]) && continues(bytes[3])) {
        *code_point = (bytes[0] & 0x07U) << 18 | (bytes[1] & 0x3FU) << 12 |
                      (bytes[2] & 0x3FU) << 6 | (bytes[3] & 0x3FU);
        return *code_point >= 0x10000 && *code_point <= 0x10FFFF ? 4 : 0;
    }
    return 0;
}

void utf8_append(struct buffer *buffer, uint32_t code_point)
{
    char bytes[4];
    size_t count = 0;

    if (code_point < 0x80) {
        bytes[count++] = (char)code_point;
    } else if (code_point < 0x800) {
        bytes[count++] = (char)(0xC0 | code_point >> 6);
        bytes[count++] = (char)(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        bytes[count++] = (char)(0xE0 | code_point >> 12);
        bytes[count++] = (char)(0x80 | (code_point >> 6 & 0x3F));
        bytes[count++] = (char)(0x80 | (code_point & 0x3F));
    } else {
        bytes[count++] = (char)(0xF0 | code_point >> 18);
        bytes[count++] = (char)(0x80 | (code_point >> 12 & 0x3F));
        bytes[count++] = (char)(0x80 | (code_point >> 6 & 0x3F));
        bytes[count++] = (char)(0x80 | (code_point & 0x3F));
    }
    buffer_append(buffer, bytes, count);
}

size_t utf8_valid_prefix(const char *text, size_t length)
{
    size_t offset = 0;

    while (offset < length) {
        uint32_t code_point;
        size_t count;

        if ((unsigned char)text[offset] < 0x80) {
            offset++;
            continue;
        }
        count = utf8_decode(text + offset, length - offset, &code_point);
        if (count == 0)
            break;
        offset += count;
    }
    return offset;
}

size_t utf8_clip(const char *text, size_t length, size_t limit)
{
    if (length <= limit)
        return length;
    while (limit > 0 && continues((unsigned char)text[limit]))
        limit--;
    return limit;
}

void utf8_position(const char *text, size_t offset, size_t *line, size_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (!continues((unsigned char)text[i])) {
            ++*column;
        }
    }
}
