/* Reading spec.hooks. Private to src/source. */
#ifndef SLUICE_SOURCE_HOOK_SPEC_H
#define SLUICE_SOURCE_HOOK_SPEC_H

#include "source/field.h"
#include "source/spec.h"

/* Fills *list from the list `key` of `hooks`; what it points to lives in `hooks` and in the list.
 */
void hook_list_read(struct field_reader *reader, const json_t *hooks, const char *key,
                    struct hook_list *list);

void hook_list_free(struct hook_list *list); /* what it holds */

#endif
