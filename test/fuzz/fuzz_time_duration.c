/* Times and durations: what is read prints as text that reads as the same. */
#include "fuzz.h"

#include "base/clock.h"

static void check_time(const char *text)
{
    char printed[TIME_TEXT_SIZE];
    int64_t time;
    int64_t again;

    if (!time_parse(text, &time))
        return;
    time_format(time, printed);
    if (strncmp(printed, "-", 1) == 0 || strlen(printed) > strlen("2026-11-24T03:08:00Z"))
        return; /* an offset led out of the years that RFC 3339 can write */
    CHECK(time_parse(printed, &again));
    CHECK(again <= time && time - again < 1000);
}

static void check_duration(const char *text)
{
    char printed[TIME_TEXT_SIZE];
    int64_t duration;
    int64_t again;

    if (!duration_parse(text, &duration))
        return;
    CHECK(duration >= 0);
    duration_format(duration, printed);
    CHECK(duration_parse(printed, &again) && again == duration);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(free) char *text = fuzz_text(data, size);
    char printed[TIME_TEXT_SIZE];
    int64_t number = 0;

    check_time(text);
    check_duration(text);
    memcpy(&number, text, size < sizeof(number) ? size : sizeof(number));
    time_format(number, printed);
    CHECK(memchr(printed, '\0', sizeof(printed)) && *printed);
    duration_format(number, printed);
    CHECK(memchr(printed, '\0', sizeof(printed)) && *printed);
    return 0;
}
