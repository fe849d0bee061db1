/* What curl calls with the bytes of an exchange; the context is always the exchange. Internal. */
#ifndef SLUICE_HTTP_EXCHANGE_IO_H
#define SLUICE_HTTP_EXCHANGE_IO_H

#include <stddef.h>

#include <curl/curl.h>

size_t exchange_header(char *line, size_t size, size_t count, void *context);
size_t exchange_write(char *bytes, size_t size, size_t count, void *context);
size_t exchange_read(char *bytes, size_t size, size_t count, void *context);
int exchange_seek(void *context, curl_off_t offset, int origin);

#endif
