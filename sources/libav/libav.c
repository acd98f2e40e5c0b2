#include "libav.h"

#include <libavutil/log.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local int collecting;
static _Thread_local char first[SL_DETAIL];

static void keep(void *object, int level, const char *format, va_list arguments)
{
	(void)object;
	if (!collecting || level > AV_LOG_ERROR || first[0] != '\0')
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
	first[0] = '\0';
}

static size_t collected(char *text, size_t size)
{
	collecting = 0;
	snprintf(text, size, "%s", first);
	return strlen(text);
}

const sl_log *sl_log_functions(void)
{
	static const sl_log functions = {collect, collected};
	return &functions;
}
