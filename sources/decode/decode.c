#include "decode.h"

#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/pixdesc.h>
#include <string.h>

int sl_unsupported_format(void)
{
	return AVERROR_PATCHWELCOME;
}

struct sl_decoder {
	AVCodecContext *context;
	AVPacket *packet;
	AVBufferRef *input;
	AVFrame *frame, *copy; // copy: of a frame in a device's memory
	enum AVPixelFormat device_format;
	int strict, refused, damaged;
	enum AVPixelFormat last_format;
	sl_picture picture;
	const sl_log *log;
	char detail[SL_DETAIL];
};

static const AVCodec *find_codec(const char *codec)
{
	const AVCodecDescriptor *d = avcodec_descriptor_get_by_name(codec);
	return d ? avcodec_find_decoder(d->id) : NULL;
}

int sl_codec_exists(const char *codec)
{
	return find_codec(codec) != NULL;
}

int sl_decoder_exists(const char *name)
{
	return avcodec_find_decoder_by_name(name) != NULL;
}

// Returns the pixel format of a codec's pictures in a device's memory.
static enum AVPixelFormat device_format(const AVCodec *codec, enum AVHWDeviceType type)
{
	for (int i = 0;; i++) {
		const AVCodecHWConfig *c = avcodec_get_hw_config(codec, i);
		if (!c)
			return AV_PIX_FMT_NONE;
		if (c->device_type == type && (c->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX))
			return c->pix_fmt;
	}
}

int sl_device_serves(const char *codec, const char *device)
{
	enum AVHWDeviceType type = av_hwdevice_find_type_by_name(device);
	const AVCodec *c = find_codec(codec);
	return c && type != AV_HWDEVICE_TYPE_NONE && device_format(c, type) != AV_PIX_FMT_NONE;
}

// Takes the device's format when the stream allows it. libavcodec calls it again, without that
// format, when the device then refuses.
static enum AVPixelFormat choose_format(AVCodecContext *c, const enum AVPixelFormat *offered)
{
	sl_decoder *d = c->opaque;
	for (const enum AVPixelFormat *f = offered; *f != AV_PIX_FMT_NONE; f++)
		if (*f == d->device_format)
			return *f;
	d->refused = 1;
	if (d->strict)
		return AV_PIX_FMT_NONE;
	return avcodec_default_get_format(c, offered);
}

static int attach_device(sl_decoder *d, const AVCodec *codec, const sl_decoder_options *o)
{
	enum AVHWDeviceType type = av_hwdevice_find_type_by_name(o->device);
	if (type == AV_HWDEVICE_TYPE_NONE)
		return AVERROR(ENOSYS);
	d->device_format = device_format(codec, type);
	if (d->device_format == AV_PIX_FMT_NONE)
		return AVERROR(ENOSYS);
	d->strict = o->strict;
	d->context->opaque = d;
	d->context->get_format = choose_format;
	return av_hwdevice_ctx_create(&d->context->hw_device_ctx, type, NULL, NULL, 0);
}

static int prepare(sl_decoder *d, const sl_decoder_options *o)
{
	const AVCodec *codec = o->name ? avcodec_find_decoder_by_name(o->name) : find_codec(o->codec);
	if (!codec)
		return AVERROR_DECODER_NOT_FOUND;
	d->context = avcodec_alloc_context3(codec);
	d->packet = av_packet_alloc();
	d->frame = av_frame_alloc();
	d->copy = av_frame_alloc();
	if (!d->context || !d->packet || !d->frame || !d->copy)
		return AVERROR(ENOMEM);
	AVCodecContext *c = d->context;
	c->thread_count = 1; // threads by frame would hold pictures back
	c->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT | AV_CODEC_FLAG_UNALIGNED; // damage is told; cropping is exact
	c->max_pixels = o->max_pixels;
	c->pkt_timebase = (AVRational){1, 1000000}; // tags pass through as they are
	if (o->device) {
		int code = attach_device(d, codec, o);
		if (code < 0)
			return code;
	}
	return avcodec_open2(c, codec, NULL);
}

// Ends what log->collect began around a call that returned code.
static int explain(sl_decoder *d, int code)
{
	d->log->collected(d->detail, sizeof d->detail);
	d->damaged |= d->log->damaged();
	return code;
}

int sl_decoder_open(sl_decoder **out, const sl_decoder_options *o)
{
	sl_decoder *d = *out = av_mallocz(sizeof *d);
	if (!d)
		return AVERROR(ENOMEM);
	d->log = o->log;
	d->device_format = d->last_format = AV_PIX_FMT_NONE;
	d->log->collect();
	return explain(d, prepare(d, o));
}

const char *sl_decoder_detail(const sl_decoder *d)
{
	return d->detail;
}

int sl_decoder_damaged(const sl_decoder *d)
{
	return d->damaged;
}

uint8_t *sl_decoder_input(sl_decoder *d, size_t size)
{
	if (!d->input || (size_t)d->input->size < size + AV_INPUT_BUFFER_PADDING_SIZE || !av_buffer_is_writable(d->input)) {
		av_buffer_unref(&d->input);
		d->input = av_buffer_alloc(size + size / 2 + AV_INPUT_BUFFER_PADDING_SIZE);
		if (!d->input)
			return NULL;
	}
	return d->input->data;
}

int sl_decoder_send(sl_decoder *d, size_t size, int64_t tag)
{
	AVPacket *p = d->packet;
	p->buf = av_buffer_ref(d->input);
	if (!p->buf)
		return AVERROR(ENOMEM);
	p->data = d->input->data;
	p->size = (int)size;
	memset(p->data + size, 0, AV_INPUT_BUFFER_PADDING_SIZE);
	p->pts = p->dts = tag;
	d->damaged = 0;
	d->log->collect();
	int code = explain(d, avcodec_send_packet(d->context, p));
	av_packet_unref(p);
	return code;
}

int sl_decoder_end(sl_decoder *d)
{
	d->damaged = 0;
	d->log->collect();
	return explain(d, avcodec_send_packet(d->context, NULL));
}

static int matrix_of(const AVFrame *f)
{
	switch (f->colorspace) {
	case AVCOL_SPC_BT709:
		return SL_BT709;
	case AVCOL_SPC_BT2020_NCL:
	case AVCOL_SPC_BT2020_CL:
		return SL_BT2020;
	case AVCOL_SPC_UNSPECIFIED:
	case AVCOL_SPC_RESERVED:
		return f->height >= 720 ? SL_BT709 : SL_BT601;
	default:
		return SL_BT601;
	}
}

static int full_range(const AVFrame *f, const AVPixFmtDescriptor *format)
{
	return f->color_range == AVCOL_RANGE_JPEG || strncmp(format->name, "yuvj", 4) == 0;
}

static int is_key(const AVFrame *f)
{
#ifdef AV_FRAME_FLAG_KEY
	return (f->flags & AV_FRAME_FLAG_KEY) != 0;
#else
	return f->key_frame;
#endif
}

// Describes one component of the frame; 0 when its bytes are not laid out the simple way.
static int describe_component(sl_component *out, const AVFrame *f, const AVPixFmtDescriptor *format, int i)
{
	const AVComponentDescriptor *c = &format->comp[i];
	int chroma = i > 0 && !(format->flags & AV_PIX_FMT_FLAG_RGB);
	int height = chroma ? AV_CEIL_RSHIFT(f->height, format->log2_chroma_h) : f->height;
	int width = chroma ? AV_CEIL_RSHIFT(f->width, format->log2_chroma_w) : f->width;
	if (c->depth != format->comp[0].depth || c->shift != format->comp[0].shift || f->linesize[c->plane] <= 0)
		return 0;
	out->data = f->data[c->plane] + c->offset;
	out->stride = f->linesize[c->plane];
	out->step = c->step;
	out->size = (size_t)(height - 1) * out->stride + (size_t)(width - 1) * c->step + (c->depth > 8 ? 2 : 1);
	return 1;
}

static int describe(sl_decoder *d, const AVFrame *f, int hardware)
{
	sl_picture *p = &d->picture;
	const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(f->format);
	const uint64_t strange = AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
				 AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
	d->last_format = f->format;
	if (!format || (format->flags & strange))
		return AVERROR_PATCHWELCOME;
	const AVComponentDescriptor *first = &format->comp[0];
	if (first->depth < 8 || first->depth + first->shift > 16 || (first->depth > 8 && (format->flags & AV_PIX_FMT_FLAG_BE)))
		return AVERROR_PATCHWELCOME;
	p->model = format->nb_components < 3 ? SL_GRAY : format->flags & AV_PIX_FMT_FLAG_RGB ? SL_RGB : SL_YUV;
	for (int i = 0; i < (p->model == SL_GRAY ? 1 : 3); i++)
		if (!describe_component(&p->components[i], f, format, i))
			return AVERROR_PATCHWELCOME;
	p->width = f->width;
	p->height = f->height;
	p->matrix = matrix_of(f);
	p->full_range = full_range(f, format) || p->model == SL_RGB;
	p->sub_x = format->log2_chroma_w;
	p->sub_y = format->log2_chroma_h;
	p->depth = first->depth;
	p->shift = first->shift;
	p->hardware = hardware;
	return 0;
}

static int receive(sl_decoder *d)
{
	AVFrame *f = d->frame;
	int code = avcodec_receive_frame(d->context, f);
	if (code < 0)
		return code;
	d->picture.tag = f->pts;
	d->picture.key = is_key(f);
	d->picture.corrupt = f->decode_error_flags != 0;
	d->picture.partial = (f->flags & AV_FRAME_FLAG_CORRUPT) != 0;
	int hardware = f->hw_frames_ctx != NULL;
	if (hardware) {
		av_frame_unref(d->copy);
		code = av_hwframe_transfer_data(d->copy, f, 0);
		if (code == 0)
			code = av_frame_copy_props(d->copy, f);
		if (code < 0)
			return code;
		f = d->copy;
	}
	return describe(d, f, hardware);
}

int sl_decoder_receive(sl_decoder *d)
{
	d->log->collect();
	return explain(d, receive(d));
}

const sl_picture *sl_decoder_picture(const sl_decoder *d)
{
	return &d->picture;
}

void sl_decoder_reset(sl_decoder *d)
{
	avcodec_flush_buffers(d->context);
}

int sl_decoder_refused(const sl_decoder *d)
{
	return d->refused;
}

const char *sl_decoder_format(const sl_decoder *d)
{
	const char *name = av_get_pix_fmt_name(d->last_format);
	return name ? name : "none";
}

void sl_decoder_close(sl_decoder *d)
{
	if (!d)
		return;
	avcodec_free_context(&d->context);
	av_packet_free(&d->packet);
	av_buffer_unref(&d->input);
	av_frame_free(&d->frame);
	av_frame_free(&d->copy);
	av_free(d);
}
