#include "encode.h"

#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>

struct sl_encoder {
	AVCodecContext *context;
	AVFrame *frame;
	AVPacket *packet;
};

int sl_encoder_exists(const char *name)
{
	return avcodec_find_encoder_by_name(name) != NULL;
}

// Settings that only one encoder understands. Parameter sets in-band are what all of them do as
// long as AV_CODEC_FLAG_GLOBAL_HEADER is not set.
static void set_private(AVCodecContext *c, const sl_encoder_options *o)
{
	void *p = c->priv_data;
	if (strcmp(o->name, "libx264") == 0) {
		av_opt_set(p, "preset", o->preset, 0);
		if (o->b_frames == 0)
			av_opt_set(p, "tune", "zerolatency", 0);
		av_opt_set_int(p, "forced-idr", 1, 0);
		av_opt_set_int(p, "sc_threshold", 0, 0);
		av_opt_set(p, "x264-params", "scenecut=0:sliced-threads=0", 0);
	} else if (strcmp(o->name, "libx265") == 0) {
		char x265[160];
		snprintf(x265, sizeof x265, "log-level=none:open-gop=0:scenecut=0:pools=none:frame-threads=1:bframes=%d",
			 o->b_frames);
		av_opt_set(p, "preset", o->preset, 0);
		if (o->b_frames == 0)
			av_opt_set(p, "tune", "zerolatency", 0);
		av_opt_set(p, "x265-params", x265, 0);
	} else if (strcmp(o->name, "mjpeg") == 0) {
		// RTP carries no Huffman tables: receivers use those of RFC 2435 appendix B.
		av_opt_set(p, "huffman", "default", 0);
		av_opt_set_int(p, "force_duplicated_matrix", 1, 0);
	}
}

static AVCodecContext *new_context(const AVCodec *codec, const sl_encoder_options *o)
{
	AVCodecContext *c = avcodec_alloc_context3(codec);
	if (!c)
		return NULL;
	int mjpeg = codec->id == AV_CODEC_ID_MJPEG;
	int full = mjpeg || o->full_range;
	int bt709 = !mjpeg && o->height >= 720;
	c->width = o->width;
	c->height = o->height;
	c->time_base = (AVRational){1, 90000};
	c->framerate = (AVRational){o->fps, 1};
	c->bit_rate = o->bit_rate;
	c->gop_size = o->gop;
	c->max_b_frames = o->b_frames;
	c->thread_count = 1;
	c->pix_fmt = mjpeg ? AV_PIX_FMT_YUVJ420P : AV_PIX_FMT_YUV420P;
	c->color_range = full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
	c->colorspace = bt709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
	c->color_primaries = bt709 ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
	c->color_trc = bt709 ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
	if (mjpeg && o->bit_rate == 0) {
		c->flags |= AV_CODEC_FLAG_QSCALE;
		c->global_quality = 4 * FF_QP2LAMBDA;
	}
	set_private(c, o);
	return c;
}

static int open_encoder(sl_encoder **out, const sl_encoder_options *o)
{
	const AVCodec *codec = avcodec_find_encoder_by_name(o->name);
	if (!codec)
		return AVERROR_ENCODER_NOT_FOUND;
	sl_encoder *e = av_mallocz(sizeof *e);
	if (!e)
		return AVERROR(ENOMEM);
	e->context = new_context(codec, o);
	e->frame = av_frame_alloc();
	e->packet = av_packet_alloc();
	int code = e->context && e->frame && e->packet ? 0 : AVERROR(ENOMEM);
	if (code == 0)
		code = avcodec_open2(e->context, codec, NULL);
	if (code == 0) {
		e->frame->format = e->context->pix_fmt;
		e->frame->width = e->context->width;
		e->frame->height = e->context->height;
		code = av_frame_get_buffer(e->frame, 0);
	}
	if (code < 0) {
		sl_encoder_close(e);
		return code;
	}
	*out = e;
	return 0;
}

int sl_encoder_open(sl_encoder **out, const sl_encoder_options *o)
{
	o->log->collect();
	int code = open_encoder(out, o);
	o->log->collected(o->detail, SL_DETAIL);
	return code;
}

int sl_encoder_send(sl_encoder *e, const uint8_t *i420, int64_t pts)
{
	if (!i420)
		return avcodec_send_frame(e->context, NULL);
	AVFrame *f = e->frame;
	int code = av_frame_make_writable(f);
	if (code < 0)
		return code;
	uint8_t *planes[4];
	int strides[4];
	code = av_image_fill_arrays(planes, strides, i420, AV_PIX_FMT_YUV420P, f->width, f->height, 1);
	if (code < 0)
		return code;
	av_image_copy(f->data, f->linesize, (const uint8_t **)planes, strides, AV_PIX_FMT_YUV420P, f->width, f->height);
	f->pts = pts;
	f->quality = e->context->global_quality;
	return avcodec_send_frame(e->context, f);
}

int sl_encoder_receive(sl_encoder *e, sl_encoded *out)
{
	av_packet_unref(e->packet);
	int code = avcodec_receive_packet(e->context, e->packet);
	if (code < 0)
		return code;
	out->data = e->packet->data;
	out->size = e->packet->size;
	out->key = (e->packet->flags & AV_PKT_FLAG_KEY) != 0;
	out->pts = e->packet->pts;
	return 0;
}

void sl_encoder_close(sl_encoder *e)
{
	if (!e)
		return;
	avcodec_free_context(&e->context);
	av_frame_free(&e->frame);
	av_packet_free(&e->packet);
	av_free(e);
}
