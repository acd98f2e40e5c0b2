// Package libav holds what every use of FFmpeg's libraries needs: their log kept from standard
// error, and their error codes in words. FFmpeg 4.4 to 7 serve.
package libav

/*
#cgo pkg-config: libavutil libavcodec
#include <libavutil/error.h>
#include <libavcodec/avcodec.h>
#include "libav.h"

enum { sl_again = AVERROR(EAGAIN), sl_eof = AVERROR_EOF };
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Error is an error code of libav with what its log said, if anything.
type Error struct {
	Code   int    // AVERROR value, negative
	Detail string // first line of libav's log at level error, often empty
}

func (e *Error) Error() string {
	var text [128]C.char
	C.av_strerror(C.int(e.Code), &text[0], C.size_t(len(text)))
	if e.Detail == "" {
		return C.GoString(&text[0])
	}
	return fmt.Sprintf("%s: %s", C.GoString(&text[0]), e.Detail)
}

// Version is the version of the libavcodec in use, such as "59.37.100".
func Version() string {
	v := uint(C.avcodec_version())
	return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff)
}

// Log keeps libav's log from standard error, for the whole program, and returns the sl_log of
// libav.h, with which C code collects what is said.
func Log() unsafe.Pointer {
	C.sl_log_take_over()
	return unsafe.Pointer(C.sl_log_functions())
}

// Again tells whether a return code says that more input is needed first, or output taken.
func Again(code int) bool { return code == C.sl_again }

// End tells whether a return code says that nothing more will come.
func End(code int) bool { return code == C.sl_eof }
