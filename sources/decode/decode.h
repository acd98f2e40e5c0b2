// A video decoder of libavcodec behind a few calls. FFmpeg 4.4 to 7.
#ifndef SIGHTLINE_DECODE_H
#define SIGHTLINE_DECODE_H

#include "../libav/libav.h"

#include <stddef.h>
#include <stdint.h>

typedef struct sl_decoder sl_decoder;

typedef struct {
	const char *codec;  // codec of libavcodec, such as "h264"
	const char *name;   // decoder of libavcodec, such as "h264_v4l2m2m"; NULL: the codec's native one
	const char *device; // hardware device type such as "vaapi"; NULL: none
	int strict;         // with device: a stream that the hardware refuses is an error, not decoded in software
	int64_t max_pixels;
	const sl_log *log;
} sl_decoder_options;

typedef struct {
	const uint8_t *data;
	size_t size;
	int stride, step;
} sl_component;

enum { SL_GRAY, SL_YUV, SL_RGB };
enum { SL_BT601, SL_BT709, SL_BT2020 };

// One decoded picture, until the next call.
typedef struct {
	int width, height;
	int model, matrix, full_range;
	int sub_x, sub_y, depth, shift;
	sl_component components[3];
	int64_t tag; // of the unit that it was decoded from
	int key, corrupt, partial, hardware;
} sl_picture;

// What sl_decoder_receive returns for a pixel format that cannot be described by sl_picture.
int sl_unsupported_format(void);

// Opens a decoder; the caller closes it, also after an error. Without memory *out is NULL.
// All that return int return 0 or an AVERROR.
int sl_decoder_open(sl_decoder **out, const sl_decoder_options *options);
// What libav said of the error returned last; empty when nothing.
const char *sl_decoder_detail(const sl_decoder *d);
// Tells whether libav said, since a unit was sent, that it is damaged.
int sl_decoder_damaged(const sl_decoder *d);
// Returns memory for an encoded unit of up to size bytes; NULL without memory.
uint8_t *sl_decoder_input(sl_decoder *d, size_t size);
// Sends the first size bytes of that memory; nothing is sent when no unit can be taken before
// pictures are received (AVERROR(EAGAIN)).
int sl_decoder_send(sl_decoder *d, size_t size, int64_t tag);
// Says that nothing more comes; pictures can still be received.
int sl_decoder_end(sl_decoder *d);
// Makes the next picture the one that sl_decoder_picture returns.
int sl_decoder_receive(sl_decoder *d);
const sl_picture *sl_decoder_picture(const sl_decoder *d);
// Forgets everything but the settings; units can be sent again.
void sl_decoder_reset(sl_decoder *d);
// Tells whether the device did not take the stream.
int sl_decoder_refused(const sl_decoder *d);
// Name of the pixel format met last.
const char *sl_decoder_format(const sl_decoder *d);
void sl_decoder_close(sl_decoder *d);

// Tells whether libavcodec has a decoder of that name or codec.
int sl_decoder_exists(const char *name);
int sl_codec_exists(const char *codec);
// Tells whether the codec's native decoder can hand work to that device type.
int sl_device_serves(const char *codec, const char *device);

#endif
