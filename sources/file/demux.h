// A demuxer of libavformat behind a few calls, over one open file and nothing else. FFmpeg 4.4 to 7.
#ifndef SIGHTLINE_DEMUX_H
#define SIGHTLINE_DEMUX_H

#include "../libav/libav.h"

#include <stddef.h>
#include <stdint.h>

typedef struct sl_demuxer sl_demuxer;

enum { SL_OTHER, SL_H264, SL_H265, SL_MJPEG };

// What sl_packet.pts and the like hold when the file does not say.
#define SL_NO_TIME INT64_MIN

// One packet of the video track, until the next call. Times are nanoseconds on the file's own clock.
typedef struct {
	const uint8_t *data;
	size_t size;
	int64_t pts, dts, duration;
	int key;     // can be decoded without any other
	int damaged; // bytes of it, or packets before it, are missing
	int hidden;  // cut away by an edit list: to be decoded, not to be shown
	// Parameter sets that count from this packet on; NULL where nothing changes.
	const uint8_t *extra;
	size_t extra_size;
} sl_packet;

// The video track.
typedef struct {
	int codec;
	const uint8_t *extra; // parameter sets, in the container's form; may be NULL
	size_t extra_size;
	int64_t interval; // nanoseconds between pictures; 0: unknown
} sl_track;

// Loads libavformat. Returns NULL when that worked, else why not. Cheap after the first time.
const char *sl_demux_load(void);
// The name that sl_demux_load looks for.
const char *sl_demux_library(void);

// Returns a demuxer that has nothing open; NULL without memory. Call sl_demux_load before.
sl_demuxer *sl_demuxer_new(const sl_log *log);
// Opens the file behind a descriptor, which stays the caller's and open until sl_demuxer_close. name helps
// to guess the container, and is not opened. Called once. All that return int return 0 or an AVERROR.
int sl_demuxer_open(sl_demuxer *d, int descriptor, const char *name);
// Ends the call in progress and those to come. From any thread.
void sl_demuxer_stop(sl_demuxer *d);
// What libav said of the error returned last; empty when nothing.
const char *sl_demuxer_detail(const sl_demuxer *d);
// Name of the container, empty when it was not recognised.
const char *sl_demuxer_container(const sl_demuxer *d);
// Name of the codec of the first video track, empty without one.
const char *sl_demuxer_codec(const sl_demuxer *d);
// Tells whether the container is one that is opened.
int sl_demuxer_known(const sl_demuxer *d);
const sl_track *sl_demuxer_track(const sl_demuxer *d);
// Reads the next packet of the video track.
int sl_demuxer_next(sl_demuxer *d, sl_packet *packet);
void sl_demuxer_close(sl_demuxer *d);

#endif
