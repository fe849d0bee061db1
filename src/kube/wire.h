/* Times and texts as the API takes them. */
#ifndef SLUICE_KUBE_WIRE_H
#define SLUICE_KUBE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* metav1.MicroTime: "2026-11-24T03:08:00.042000Z", exactly six decimals, as the API insists. */
void micro_time_format(int64_t wall_ms, char text[TIME_TEXT_SIZE]);

/* A copy that is valid UTF-8, each byte that is none replaced by U+FFFD, of at most `bytes_max`
 * bytes and `characters_max` characters, and cut between two characters. Free it; NULL without
 * memory. NULL counts as "". */
char *wire_text(const char *text, size_t bytes_max, size_t characters_max);

#endif
