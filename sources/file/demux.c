#define _GNU_SOURCE
#include "demux.h"

#include <dlfcn.h>
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/opt.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

// libavformat brings some forty libraries, mostly of network protocols: it is loaded when the first file
// is played, so that nobody else carries it.
static struct {
	AVFormatContext *(*alloc)(void);
	void (*free)(AVFormatContext *);
	int (*open)(AVFormatContext **, const char *, const AVInputFormat *, AVDictionary **);
	int (*look)(AVFormatContext *, AVDictionary **);
	int (*read)(AVFormatContext *, AVPacket *);
	void (*close)(AVFormatContext **);
	AVIOContext *(*io_alloc)(unsigned char *, int, int, void *, void *, void *, void *);
	void (*io_free)(AVIOContext **);
	int (*probe)(AVIOContext *, const AVInputFormat **, const char *, void *, unsigned, unsigned);
} format;

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static const char library[] = "libavformat.so." AV_STRINGIFY(LIBAVFORMAT_VERSION_MAJOR);

static const char *load(void)
{
	static int loaded;
	if (loaded)
		return NULL;
	void *l = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!l)
		return dlerror();
	const struct {
		const char *name;
		void *at;
	} all[] = {
		{"avformat_alloc_context", &format.alloc}, {"avformat_free_context", &format.free},
		{"avformat_open_input", &format.open},	   {"avformat_find_stream_info", &format.look},
		{"av_read_frame", &format.read},	   {"avformat_close_input", &format.close},
		{"avio_alloc_context", &format.io_alloc},  {"avio_context_free", &format.io_free},
		{"av_probe_input_buffer2", &format.probe},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		void *symbol = dlsym(l, all[i].name);
		if (!symbol)
			return dlerror();
		memcpy(all[i].at, &symbol, sizeof symbol);
	}
	loaded = 1;
	return NULL;
}

const char *sl_demux_load(void)
{
	pthread_mutex_lock(&loading);
	const char *why = load();
	pthread_mutex_unlock(&loading);
	return why;
}

const char *sl_demux_library(void)
{
	return library;
}

// The containers that are opened, by libavformat's names. None of them names other files, but for
// references in MP4, which are off by default and could not be opened.
static const char containers[] = "mov,matroska,mpegts,avi,h264,hevc,mjpeg";

struct sl_demuxer {
	AVFormatContext *context;
	AVIOContext *io;
	AVPacket *packet;
	const AVInputFormat *container;
	int descriptor;
	int64_t at; // offset of the next byte to read
	int stop;
	int stream;
	sl_track track;
	const char *codec;
	const sl_log *log;
	char detail[SL_DETAIL];
};

static int stopped(void *opaque)
{
	sl_demuxer *d = opaque;
	return __atomic_load_n(&d->stop, __ATOMIC_RELAXED) != 0;
}

static int read_some(void *opaque, uint8_t *into, int size)
{
	sl_demuxer *d = opaque;
	if (stopped(d))
		return AVERROR_EXIT;
	ssize_t n;
	do
		n = pread(d->descriptor, into, (size_t)size, d->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return AVERROR(errno);
	if (n == 0)
		return AVERROR_EOF;
	d->at += n;
	return (int)n;
}

static int64_t seek(void *opaque, int64_t offset, int whence)
{
	sl_demuxer *d = opaque;
	whence &= ~AVSEEK_FORCE;
	int64_t size = lseek(d->descriptor, 0, SEEK_END);
	if (size < 0)
		return AVERROR(errno);
	switch (whence) {
	case AVSEEK_SIZE:
		return size;
	case SEEK_SET:
		break;
	case SEEK_CUR:
		offset += d->at;
		break;
	case SEEK_END:
		offset += size;
		break;
	default:
		return AVERROR(EINVAL);
	}
	if (offset < 0)
		return AVERROR(EINVAL);
	return d->at = offset;
}

// Refuses to open anything else, whatever a file names.
static int open_nothing(AVFormatContext *c, AVIOContext **io, const char *url, int flags, AVDictionary **options)
{
	(void)c, (void)io, (void)url, (void)flags, (void)options;
	return AVERROR(EPERM);
}

static int settings(AVDictionary **o)
{
	const struct {
		const char *key, *value;
	} all[] = {
		{"format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,avi,h264,hevc,mjpeg"},
		{"codec_whitelist", "h264,hevc,mjpeg"}, // for the decoders that it looks at pictures with
		{"protocol_whitelist", "none"},
		{"probesize", "4194304"},
		{"analyzeduration", "5000000"},
		{"max_streams", "64"},
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		int code = av_dict_set(o, all[i].key, all[i].value, 0);
		if (code < 0)
			return code;
	}
	return 0;
}

static int prepare_io(sl_demuxer *d)
{
	enum { SIZE = 1 << 16 };
	unsigned char *buffer = av_malloc(SIZE);
	if (!buffer)
		return AVERROR(ENOMEM);
	d->io = format.io_alloc(buffer, SIZE, 0, d, read_some, NULL, seek);
	if (!d->io) {
		av_free(buffer);
		return AVERROR(ENOMEM);
	}
	return 0;
}

static int open_container(sl_demuxer *d, const char *name)
{
	int code = format.probe(d->io, &d->container, name, NULL, 0, 1 << 20);
	if (code < 0)
		return code;
	if (!sl_demuxer_known(d))
		return AVERROR_DEMUXER_NOT_FOUND;
	d->context = format.alloc();
	d->packet = av_packet_alloc();
	if (!d->context || !d->packet)
		return AVERROR(ENOMEM);
	d->context->pb = d->io;
	d->context->flags |= AVFMT_FLAG_CUSTOM_IO;
	d->context->io_open = open_nothing;
	d->context->interrupt_callback = (AVIOInterruptCB){stopped, d};
	AVDictionary *options = NULL;
	code = settings(&options);
	if (code >= 0)
		code = format.open(&d->context, name, d->container, &options); // frees the context when it fails
	av_dict_free(&options);
	return code < 0 ? code : format.look(d->context, NULL);
}

static int codec_of(const AVStream *s)
{
	switch (s->codecpar->codec_id) {
	case AV_CODEC_ID_H264:
		return SL_H264;
	case AV_CODEC_ID_HEVC:
		return SL_H265;
	case AV_CODEC_ID_MJPEG:
		return SL_MJPEG;
	default:
		return SL_OTHER;
	}
}

// The first video track of a codec that is read, else the first one; -1 without any. Cover pictures are none.
static int choose(const AVFormatContext *c)
{
	int other = -1;
	for (unsigned i = 0; i < c->nb_streams; i++) {
		const AVStream *s = c->streams[i];
		if (s->codecpar->codec_type != AVMEDIA_TYPE_VIDEO || (s->disposition & AV_DISPOSITION_ATTACHED_PIC))
			continue;
		if (codec_of(s) != SL_OTHER)
			return (int)i;
		if (other < 0)
			other = (int)i;
	}
	return other;
}

static int64_t nanoseconds(int64_t time, AVRational base)
{
	return time == AV_NOPTS_VALUE ? SL_NO_TIME : av_rescale_q(time, base, (AVRational){1, 1000000000});
}

static int64_t interval(const AVStream *s)
{
	AVRational rate = s->avg_frame_rate.num > 0 ? s->avg_frame_rate : s->r_frame_rate;
	if (rate.num <= 0 || rate.den <= 0)
		return 0;
	return av_rescale(1000000000, rate.den, rate.num);
}

static int open_track(sl_demuxer *d)
{
	d->stream = choose(d->context);
	if (d->stream < 0)
		return AVERROR_STREAM_NOT_FOUND;
	for (unsigned i = 0; i < d->context->nb_streams; i++)
		if ((int)i != d->stream)
			d->context->streams[i]->discard = AVDISCARD_ALL;
	const AVStream *s = d->context->streams[d->stream];
	d->codec = avcodec_get_name(s->codecpar->codec_id);
	d->track = (sl_track){
		.codec = codec_of(s),
		.extra = s->codecpar->extradata,
		.extra_size = s->codecpar->extradata_size > 0 ? (size_t)s->codecpar->extradata_size : 0,
		.interval = interval(s),
	};
	return 0;
}

static int open_all(sl_demuxer *d, const char *name)
{
	int code = prepare_io(d);
	if (code >= 0)
		code = open_container(d, name);
	return code < 0 ? code : open_track(d);
}

// Ends what log->collect began around a call that returned code.
static int explain(sl_demuxer *d, int code)
{
	d->log->collected(d->detail, sizeof d->detail);
	return code;
}

sl_demuxer *sl_demuxer_new(const sl_log *log)
{
	sl_demuxer *d = av_mallocz(sizeof *d);
	if (d)
		d->log = log;
	return d;
}

int sl_demuxer_open(sl_demuxer *d, int descriptor, const char *name)
{
	d->descriptor = descriptor;
	d->log->collect();
	return explain(d, open_all(d, name));
}

void sl_demuxer_stop(sl_demuxer *d)
{
	__atomic_store_n(&d->stop, 1, __ATOMIC_RELAXED);
}

const char *sl_demuxer_detail(const sl_demuxer *d)
{
	return d->detail;
}

const char *sl_demuxer_container(const sl_demuxer *d)
{
	return d->container ? d->container->name : "";
}

const char *sl_demuxer_codec(const sl_demuxer *d)
{
	return d->codec ? d->codec : "";
}

int sl_demuxer_known(const sl_demuxer *d)
{
	return d->container && av_match_list(d->container->name, containers, ',') > 0;
}

const sl_track *sl_demuxer_track(const sl_demuxer *d)
{
	return &d->track;
}

static int next(sl_demuxer *d, sl_packet *out)
{
	AVPacket *p = d->packet;
	do {
		av_packet_unref(p);
		if (stopped(d))
			return AVERROR_EXIT;
		int code = format.read(d->context, p);
		if (code < 0)
			return code;
	} while (p->stream_index != d->stream);
	AVRational base = d->context->streams[d->stream]->time_base;
	*out = (sl_packet){
		.data = p->data,
		.size = p->size > 0 ? (size_t)p->size : 0,
		.pts = nanoseconds(p->pts, base),
		.dts = nanoseconds(p->dts, base),
		.duration = p->duration > 0 ? nanoseconds(p->duration, base) : 0,
		.key = (p->flags & AV_PKT_FLAG_KEY) != 0,
		.damaged = (p->flags & AV_PKT_FLAG_CORRUPT) != 0,
		.hidden = (p->flags & AV_PKT_FLAG_DISCARD) != 0,
	};
	for (int i = 0; i < p->side_data_elems; i++)
		if (p->side_data[i].type == AV_PKT_DATA_NEW_EXTRADATA) {
			out->extra = p->side_data[i].data;
			out->extra_size = p->side_data[i].size;
		}
	return 0;
}

int sl_demuxer_next(sl_demuxer *d, sl_packet *packet)
{
	d->log->collect();
	return explain(d, next(d, packet));
}

void sl_demuxer_close(sl_demuxer *d)
{
	if (!d)
		return;
	if (d->context)
		format.close(&d->context);
	av_packet_free(&d->packet);
	if (d->io) {
		av_freep(&d->io->buffer);
		format.io_free(&d->io);
	}
	av_free(d);
}
