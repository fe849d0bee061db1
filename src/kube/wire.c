/* See wire.h. */
#include "kube/wire.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/utf8.h"

void micro_time_format(int64_t wall_ms, char text[TIME_TEXT_SIZE])
{
    int64_t milliseconds = wall_ms % 1000;
    size_t length;

    time_format(wall_ms, text);
    length = strlen(text) - 1; /* without the Z */
    snprintf(text + length, TIME_TEXT_SIZE - length, ".%03d000Z",
             (int)(milliseconds < 0 ? milliseconds + 1000 : milliseconds));
}

char *wire_text(const char *text, size_t bytes_max, size_t characters_max)
{
    struct buffer copy = BUFFER_INIT;
    size_t left = text ? strlen(text) : 0;

    for (size_t characters = 0; left > 0 && characters < characters_max; characters++) {
        uint32_t code_point;
        size_t count = utf8_decode(text, left, &code_point);
        const char *bytes = count ? text : "\xEF\xBF\xBD";
        size_t width = count ? count : 3;

        if (copy.length + width > bytes_max)
            break;
        buffer_append(&copy, bytes, width);
        text += count ? count : 1;
        left -= count ? count : 1;
    }
    return buffer_steal(&copy);
}
