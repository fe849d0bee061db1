/* The compressors behind gzip.h. Internal to this folder. */
#ifndef SLUICE_ARTIFACT_CODEC_H
#define SLUICE_ARTIFACT_CODEC_H

#include "artifact/gzip.h"

extern const struct gzip_codec codec_zlib;
#ifdef SLUICE_HAVE_ISAL
extern const struct gzip_codec codec_isal;
#endif

#endif
