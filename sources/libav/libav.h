// Messages of libav: kept from standard error, and collected where a caller asks for them.
#ifndef SIGHTLINE_LIBAV_H
#define SIGHTLINE_LIBAV_H

#include <stddef.h>

// Takes over libav's log for the whole program. Cheap; call it before anything else of libav.
void sl_log_take_over(void);

// Starts collecting what libav says on this thread at level error or worse.
void sl_log_collect(void);

// Ends collecting; copies the last line said, without its line end, into text and returns its length.
size_t sl_log_collected(char *text, size_t size);

#endif
