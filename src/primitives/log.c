/* What a generator logs: a line of the source's, masked. The one primitive without an answer. */
#include <stdlib.h>
#include <string.h>

#include "primitives/call.h"

void primitive_call_log(const struct primitive_call *call, const char *level, const char *text)
{
    _cleanup_(free) char *masked = primitive_call_mask(call, text);
    struct log *log = call->services->log;

    if (!masked)
        return;
    if (strcmp(level, "debug") == 0)
        log_debug(log, &call->subject, masked, "module", call->module, NULL);
    else if (strcmp(level, "error") == 0)
        log_error(log, &call->subject, NULL, masked, "module", call->module, NULL);
    else
        log_info(log, &call->subject, masked, "module", call->module, NULL);
}
