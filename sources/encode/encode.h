// A video encoder of libavcodec behind four calls.
#ifndef SIGHTLINE_ENCODE_H
#define SIGHTLINE_ENCODE_H

#include "../libav/libav.h"

#include <stdint.h>

typedef struct sl_encoder sl_encoder;

typedef struct {
	const char *name;   // encoder of libavcodec, such as "libx264"
	const char *preset; // preset of libx264 and libx265; ignored by others
	int width, height;  // even
	int fps;
	int64_t bit_rate; // bit/s; 0: the encoder's constant quality
	int gop;          // pictures from keyframe to keyframe
	int b_frames;
	int full_range;
	const sl_log *log;
	char *detail; // SL_DETAIL bytes for what libav says when opening goes wrong
} sl_encoder_options;

typedef struct {
	const uint8_t *data; // until the next call
	int size;
	int key;
	int64_t pts; // ticks of 1/90000 s
} sl_encoded;

// Tells whether this libavcodec has an encoder of that name.
int sl_encoder_exists(const char *name);

// All return 0 or an AVERROR.
int sl_encoder_open(sl_encoder **out, const sl_encoder_options *options);
// Sends one picture, packed planes Y, U, V; NULL says that there are no more.
int sl_encoder_send(sl_encoder *e, const uint8_t *i420, int64_t pts);
// Receives the next encoded picture; AVERROR(EAGAIN) when another must be sent first.
int sl_encoder_receive(sl_encoder *e, sl_encoded *out);
void sl_encoder_close(sl_encoder *e);

#endif
