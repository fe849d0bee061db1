/* What the artifact server answers: the bytes of artifacts, and nothing else. */
#ifndef SLUICE_STORAGE_SERVE_H
#define SLUICE_STORAGE_SERVE_H

#include "http/server.h"

/* An http_handler for the prefix "/artifacts/"; `context` is the struct storage, which must outlive
 * the server. 200 with the bytes (application/gzip, never with a Content-Encoding: Go's client
 * would unpack them, and the digest would fail), 404 for every path that is no key or has nothing
 * stored, 503 where storage fails. */
void storage_serve(void *context, const char *path, struct http_answer *answer);

#endif
