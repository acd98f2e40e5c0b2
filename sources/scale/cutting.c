#include "cutting.h"

#include <stdlib.h>
#include <string.h>

// The rows of the source that a row of the frame is made of are looked at once each, and remembered in
// a ring as long as any row of the frame needs.
struct sl_cutting {
	int segments, ring;
	int looked;             // rows of the source looked at so far
	int bounded, widened;   // rows of chroma that low and high, and u and v, are of; -1: none
	uint8_t *flags, *any;   // of the rows in the ring: of each segment, of all
	uint8_t *low, *high;    // bounds of luma for each pixel of a row
	uint8_t *u, *v;         // chroma for each pixel of a row
	uint8_t *narrow;        // a row of luma in bytes
	int32_t *sums[3];
	int16_t *line, *out[3];
};

sl_cutting *sl_cutting_open(const sl_plan *p)
{
	sl_cutting *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	const size_t columns = p->columns[SL_LUMA], room = columns + SL_SLACK;
	c->segments = (int)(columns + SL_SEGMENT - 1) / SL_SEGMENT;
	for (int y = 0; y < p->down[SL_LUMA].count; y++)
		c->ring = p->down[SL_LUMA].taps[y] > c->ring ? p->down[SL_LUMA].taps[y] : c->ring;
	c->flags = calloc(c->ring, c->segments);
	c->any = calloc(c->ring, 1);
	c->low = calloc(5, room);
	c->line = calloc(room + p->across[SL_LUMA].stride, sizeof *c->line);
	int ok = c->flags && c->any && c->low && c->line;
	for (int i = 0; i < 3; i++) {
		c->sums[i] = calloc(room, sizeof *c->sums[i]);
		c->out[i] = calloc((size_t)p->across[SL_LUMA].count + SL_SLACK, sizeof *c->out[i]);
		ok = ok && c->sums[i] && c->out[i];
	}
	if (!ok) {
		sl_cutting_close(c);
		return NULL;
	}
	c->high = c->low + room;
	c->u = c->low + 2 * room;
	c->v = c->low + 3 * room;
	c->narrow = c->low + 4 * room;
	return c;
}

void sl_cutting_close(sl_cutting *c)
{
	if (!c)
		return;
	for (int i = 0; i < 3; i++) {
		free(c->sums[i]);
		free(c->out[i]);
	}
	free(c->flags);
	free(c->any);
	free(c->low);
	free(c->line);
	free(c);
}

void sl_cutting_begin(sl_cutting *c)
{
	c->looked = 0;
	c->bounded = c->widened = -1;
}

static inline uint8_t narrow(const sl_plan *p, const uint8_t *sample)
{
	if (!p->wide)
		return sample[0];
	uint32_t v = ((sample[0] | (uint32_t)sample[1] << 8) << p->raise & 0xffff) + 128;
	return v > 0xff00 ? 255 : (uint8_t)(v >> 8);
}

// Returns the used part of a row of luma, one byte a pixel.
static const uint8_t *luma_row(const sl_plan *p, const uint8_t *data, ptrdiff_t stride, int row)
{
	const uint8_t *from = data + row * stride + (ptrdiff_t)p->column[SL_LUMA] * p->step[0];
	if (!p->wide && p->step[0] == 1)
		return from;
	for (int x = 0; x < p->columns[SL_LUMA]; x++)
		p->cutting->narrow[x] = narrow(p, from + (ptrdiff_t)x * p->step[0]);
	return p->cutting->narrow;
}

// Writes the used part of a row of chroma, one byte a pixel of luma.
static void widen(const sl_plan *p, uint8_t *restrict out, const uint8_t *data, ptrdiff_t stride, int step, int row)
{
	const uint8_t *from = data + row * stride;
	const int columns = p->columns[SL_LUMA], first = p->column[SL_LUMA];
	if (p->wide || p->sub_x != 1 || first % 2 != 0) {
		for (int x = 0; x < columns; x++)
			out[x] = narrow(p, from + (ptrdiff_t)((first + x) >> p->sub_x) * step);
		return;
	}
	from += (ptrdiff_t)(first / 2) * step;
	for (int x = 0; x < columns / 2; x++)
		out[2 * x] = out[2 * x + 1] = from[(ptrdiff_t)x * step];
	if (columns % 2 != 0)
		out[columns - 1] = from[(ptrdiff_t)(columns / 2) * step];
}

static void widen_both(const sl_plan *p, const uint8_t *const data[3], const ptrdiff_t stride[3], int row)
{
	sl_cutting *c = p->cutting;
	if (c->widened == row)
		return;
	widen(p, c->u, data[1], stride[1], p->step[1], row);
	widen(p, c->v, data[2], stride[2], p->step[2], row);
	c->widened = row;
}

// Looks for colours outside of RGB in one row of the source.
static void look(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3], const ptrdiff_t stride[3], int row)
{
	sl_cutting *c = p->cutting;
	const int chroma = row >> p->sub_y, columns = p->columns[SL_LUMA];
	if (c->bounded != chroma) {
		widen_both(p, data, stride, chroma);
		kernel->bounds(c->low, c->high, c->u, c->v, columns, &p->gamut);
		c->bounded = chroma;
	}
	uint8_t *flags = c->flags + (size_t)(row % c->ring) * c->segments;
	c->any[row % c->ring] = (uint8_t)kernel->mark(flags, luma_row(p, data[0], stride[0], row), c->low, c->high, columns);
}

// Adds up what is cut off in one row of the source.
static void add(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3], const ptrdiff_t stride[3], int row,
		int32_t weight)
{
	sl_cutting *c = p->cutting;
	const uint8_t *flags = c->flags + (size_t)(row % c->ring) * c->segments;
	const uint8_t *luma = luma_row(p, data[0], stride[0], row);
	widen_both(p, data, stride, row >> p->sub_y);
	for (int i = 0; i < c->segments; i++) {
		if (!flags[i])
			continue;
		const int x = i * SL_SEGMENT, left = p->columns[SL_LUMA] - x;
		int32_t *const sums[3] = {c->sums[0] + x, c->sums[1] + x, c->sums[2] + x};
		kernel->cut(sums, luma + x, c->u + x, c->v + x, left < SL_SEGMENT ? left : SL_SEGMENT, weight, p->matrix);
	}
}

// Brings the sums down to 1/128 of a level.
static void lower(int16_t *restrict out, const int32_t *restrict sums, int n)
{
	for (int i = 0; i < n; i++) {
		int32_t v = (sums[i] + (1 << 14)) >> 15;
		out[i] = (int16_t)(v > 32640 ? 32640 : v < -32640 ? -32640 : v);
	}
}

int16_t *const *sl_cutting_row(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3],
			       const ptrdiff_t stride[3], int y)
{
	sl_cutting *c = p->cutting;
	const sl_axis *down = &p->down[SL_LUMA], *across = &p->across[SL_LUMA];
	const int first = down->start[y], end = first + down->taps[y], columns = p->columns[SL_LUMA];
	int any = 0;
	for (int row = first > c->looked ? first : c->looked; row < end; row++)
		look(p, kernel, data, stride, row);
	c->looked = end > c->looked ? end : c->looked;
	for (int row = first; row < end; row++) {
		if (!c->any[row % c->ring])
			continue;
		for (int i = 0; i < 3 && !any; i++)
			memset(c->sums[i], 0, columns * sizeof *c->sums[i]);
		any = 1;
		add(p, kernel, data, stride, row, down->weights[(size_t)y * down->stride + row - first]);
	}
	if (!any)
		return NULL;
	for (int i = 0; i < 3; i++) {
		lower(c->line, c->sums[i], columns);
		kernel->across(c->out[i], across->count, c->line, across->start, across->weights, across->stride);
	}
	return c->out;
}
