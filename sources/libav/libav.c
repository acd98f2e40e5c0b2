#include "libav.h"

#include <libavutil/log.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local int collecting;
static _Thread_local char last[256];

static void keep(void *object, int level, const char *format, va_list arguments)
{
	(void)object;
	if (!collecting || level > AV_LOG_ERROR)
		return;
	char line[sizeof last];
	vsnprintf(line, sizeof line, format, arguments);
	line[strcspn(line, "\r\n")] = '\0';
	if (line[0] != '\0')
		memcpy(last, line, sizeof last);
}

void sl_log_take_over(void)
{
	av_log_set_callback(keep);
}

void sl_log_collect(void)
{
	collecting = 1;
	last[0] = '\0';
}

size_t sl_log_collected(char *text, size_t size)
{
	collecting = 0;
	snprintf(text, size, "%s", last);
	return strlen(text);
}
