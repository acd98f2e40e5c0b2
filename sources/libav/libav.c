#include "libav.h"

#include <libavutil/log.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local int collecting;
static _Thread_local int damage;
static _Thread_local char first[SL_DETAIL];

// How messages begin that a decoder has for damage it goes on after. It tells so in no other way
// before the picture comes out, which can be after others that were built on it.
static const char *const damages[] = {
	// H.264
	"error while decoding MB",
	"concealing ", // what was not decoded
	"decode_slice_header error",
	// H.265
	"Could not find ref with POC",
	"Error parsing NAL unit",
	// JPEG
	"overread ",
	"error y=",
	"error dc",
	"error count:",
	"mjpeg_decode_dc: bad vlc",
};

static int tells_damage(const char *format)
{
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++)
		if (strncmp(format, damages[i], strlen(damages[i])) == 0)
			return 1;
	return 0;
}

static void keep(void *object, int level, const char *format, va_list arguments)
{
	(void)object;
	if (!collecting || level > AV_LOG_INFO)
		return;
	int damaged = tells_damage(format);
	damage |= damaged;
	if ((level > AV_LOG_ERROR && !damaged) || first[0] != '\0')
		return;
	char line[sizeof first];
	vsnprintf(line, sizeof line, format, arguments);
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] != '\0')
		memcpy(first, line, strlen(line) + 1);
}

void sl_log_take_over(void)
{
	av_log_set_callback(keep);
}

static void collect(void)
{
	collecting = 1;
	damage = 0;
	first[0] = '\0';
}

static size_t collected(char *text, size_t size)
{
	collecting = 0;
	snprintf(text, size, "%s", first);
	return strlen(text);
}

static int damaged(void)
{
	return damage;
}

const sl_log *sl_log_functions(void)
{
	static const sl_log functions = {collect, collected, damaged};
	return &functions;
}
