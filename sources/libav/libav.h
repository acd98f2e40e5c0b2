// Messages of libav: kept from standard error, and collected where a caller asks for them.
#ifndef SIGHTLINE_LIBAV_H
#define SIGHTLINE_LIBAV_H

#include <stddef.h>

// Takes over libav's log for the whole program. Cheap; call it before anything else of libav.
void sl_log_take_over(void);

// Size of a buffer that every message fits into.
#define SL_DETAIL 256

// What another package's C code may call.
typedef struct {
	// Starts collecting what libav says on this thread at level error or worse.
	void (*collect)(void);
	// Ends collecting; copies the first line said, without its line end, into text and returns its length.
	size_t (*collected)(char *text, size_t size);
	// Tells whether what was said in between, at any level, means that a picture is damaged.
	int (*damaged)(void);
} sl_log;

const sl_log *sl_log_functions(void);

#endif
