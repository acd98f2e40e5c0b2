#include "cutting.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_KEPT = 8 << 20 }; // bytes

// The rows of the source that a row of the frame is made of are looked at once each, and remembered in
// a ring as long as any row of the frame needs.
struct sl_cutting {
	int segments, ring;
	int looked;           // rows of the source looked at so far
	int reached;          // row of chroma that reach is of; -1: none
	uint8_t *flags, *any; // of the rows in the ring: of each segment, of all
	int16_t (*lost)[3][SL_SEGMENT]; // of the segments in the ring that have a flag; NULL: worked out at each use
	uint8_t *reach;       // for each pixel of a row
	uint8_t *u, *v, *few; // chroma of a row in bytes, and its reach
	uint8_t *luma;        // a row of luma in bytes
	int16_t *sums[3];     // for each pixel of a row
	int16_t *out[3];
};

sl_cutting *sl_cutting_open(const sl_plan *p)
{
	sl_cutting *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	const size_t columns = p->columns[SL_LUMA], room = columns + SL_SEGMENT;
	c->segments = (int)(columns + SL_SEGMENT - 1) / SL_SEGMENT;
	for (int y = 0; y < p->down[SL_LUMA].count; y++)
		c->ring = p->down[SL_LUMA].taps[y] > c->ring ? p->down[SL_LUMA].taps[y] : c->ring;
	c->flags = calloc(c->ring, c->segments);
	c->any = calloc(c->ring, 1);
	if ((size_t)c->ring * c->segments * sizeof *c->lost <= MOST_KEPT)
		c->lost = malloc((size_t)c->ring * c->segments * sizeof *c->lost);
	c->reach = calloc(5, room);
	int ok = c->flags && c->any && c->reach;
	for (int i = 0; i < 3; i++) {
		c->sums[i] = calloc(room + p->across[SL_LUMA].stride, sizeof *c->sums[i]);
		c->out[i] = calloc((size_t)p->across[SL_LUMA].count + SL_SLACK, sizeof *c->out[i]);
		ok = ok && c->sums[i] && c->out[i];
	}
	if (!ok) {
		sl_cutting_close(c);
		return NULL;
	}
	c->u = c->reach + room;
	c->v = c->reach + 2 * room;
	c->few = c->reach + 3 * room;
	c->luma = c->reach + 4 * room;
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
	free(c->lost);
	free(c->reach);
	free(c);
}

void sl_cutting_begin(sl_cutting *c)
{
	c->looked = 0;
	c->reached = -1;
}

// Brings samples of two bytes to one, rounded.
static inline __attribute__((always_inline)) void narrow(uint8_t *restrict out, const uint8_t *restrict from, int step, int n, int raise)
{
	for (int x = 0; x < n; x++) {
		uint16_t v;
		memcpy(&v, from + (ptrdiff_t)x * step, sizeof v); // all the processors this runs on are little-endian
		uint32_t rounded = (uint16_t)(v << raise) + 128u;
		out[x] = (uint8_t)((rounded > 0xff00 ? 0xff00 : rounded) >> 8);
	}
}

static inline __attribute__((always_inline)) void pick(uint8_t *restrict out, const uint8_t *restrict from, int step, int n)
{
	for (int x = 0; x < n; x++)
		out[x] = from[(ptrdiff_t)x * step];
}

// Returns the used part of a row of a component in bytes: as it lies in memory, or in room.
static const uint8_t *bytes(const sl_plan *p, uint8_t *room, const uint8_t *data, ptrdiff_t stride, int step, int axis, int row)
{
	const uint8_t *from = data + row * stride + (ptrdiff_t)p->column[axis] * step;
	const int columns = p->columns[axis];
	if (step == 1)
		return from;
	if (p->wide && step == 2)
		narrow(room, from, 2, columns, p->raise);
	else if (p->wide)
		narrow(room, from, step, columns, p->raise);
	else if (step == 2)
		pick(room, from, 2, columns);
	else
		pick(room, from, step, columns);
	return room;
}

// Repeats samples of chroma for n pixels from pixel x of the used part of a row on.
static void repeat(const sl_plan *p, uint8_t *restrict out, const uint8_t *restrict chroma, int x, int n)
{
	const int first = p->column[SL_LUMA] + x, base = p->column[SL_CHROMA];
	if (p->sub_x != 1 || first % 2 != 0) {
		for (int i = 0; i < n; i++)
			out[i] = chroma[((first + i) >> p->sub_x) - base];
		return;
	}
	chroma += first / 2 - base;
	if (n == SL_SEGMENT) {
		for (int i = 0; i < SL_SEGMENT / 2; i++)
			out[2 * i] = out[2 * i + 1] = chroma[i];
		return;
	}
	for (int i = 0; i < n / 2; i++)
		out[2 * i] = out[2 * i + 1] = chroma[i];
	if (n % 2 != 0)
		out[n - 1] = chroma[n / 2];
}

// One row of the source.
typedef struct {
	const uint8_t *y, *u, *v;
} row_bytes;

static row_bytes take_row(const sl_plan *p, const uint8_t *const data[3], const ptrdiff_t stride[3], int row)
{
	sl_cutting *c = p->cutting;
	const int chroma = row >> p->sub_y;
	return (row_bytes){
		bytes(p, c->luma, data[0], stride[0], p->step[0], SL_LUMA, row),
		bytes(p, c->u, data[1], stride[1], p->step[1], SL_CHROMA, chroma),
		bytes(p, c->v, data[2], stride[2], p->step[2], SL_CHROMA, chroma),
	};
}

// Returns where to keep what a segment in the ring loses; room when there is no place for it.
static int16_t (*place(const sl_cutting *c, int row, int segment, int16_t room[3][SL_SEGMENT]))[SL_SEGMENT]
{
	return c->lost ? c->lost[(size_t)(row % c->ring) * c->segments + segment] : room;
}

// Collects a segment; what is missing at the end of a row is grey.
static void collect(const sl_plan *p, sl_colors *colors, const row_bytes *from, int segment)
{
	const int x = segment * SL_SEGMENT, left = p->columns[SL_LUMA] - x, n = left < SL_SEGMENT ? left : SL_SEGMENT;
	if (n == SL_SEGMENT) {
		memcpy(colors->y, from->y + x, SL_SEGMENT);
	} else {
		memset(colors, 128, sizeof *colors);
		memcpy(colors->y, from->y + x, n);
	}
	repeat(p, colors->u, from->u, x, n);
	repeat(p, colors->v, from->v, x, n);
}

// Looks for colours outside of RGB in one row of the source: first for those that might be, then for
// those that are.
static void look(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3], const ptrdiff_t stride[3], int row)
{
	sl_cutting *c = p->cutting;
	const int columns = p->columns[SL_LUMA], chroma = row >> p->sub_y;
	const row_bytes from = take_row(p, data, stride, row);
	uint8_t *flags = c->flags + (size_t)(row % c->ring) * c->segments, any = 0;
	if (c->reached != chroma) {
		kernel->reach(c->few, from.u, from.v, p->columns[SL_CHROMA]);
		repeat(p, c->reach, c->few, 0, columns);
		c->reached = chroma;
	}
	flags[c->segments - 1] = 1; // at the end of the row there may be less than a segment
	kernel->near(flags, from.y, c->reach, columns / SL_SEGMENT, p->black, p->white);
	for (int i = 0; i < c->segments; i++) {
		sl_colors colors;
		int16_t room[3][SL_SEGMENT];
		if (!flags[i])
			continue;
		collect(p, &colors, &from, i);
		flags[i] = (uint8_t)kernel->cut(place(c, row, i, room), &colors, p->matrix);
		any |= flags[i];
	}
	c->any[row % c->ring] = any;
}

// The segments with anything in the sums.
typedef struct {
	int first, end;
} range;

// Adds up what is cut off in one row of the source.
static void add_row(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3], const ptrdiff_t stride[3],
		    int row, int16_t weight, range *filled)
{
	sl_cutting *c = p->cutting;
	const uint8_t *flags = c->flags + (size_t)(row % c->ring) * c->segments;
	row_bytes from = {0};
	if (!c->lost)
		from = take_row(p, data, stride, row);
	for (int i = 0; i < c->segments; i++) {
		if (!flags[i])
			continue;
		int16_t room[3][SL_SEGMENT], (*lost)[SL_SEGMENT] = place(c, row, i, room);
		if (!c->lost) {
			sl_colors colors;
			collect(p, &colors, &from, i);
			kernel->cut(lost, &colors, p->matrix);
		}
		for (int k = 0; k < 3; k++)
			if (flags[i] >> k & 1)
				kernel->add(c->sums[k] + i * SL_SEGMENT, lost[k], weight);
		filled->first = i < filled->first ? i : filled->first;
		filled->end = i + 1 > filled->end ? i + 1 : filled->end;
	}
}

// Brings the sums to the columns of the frame.
static void scale_sums(const sl_plan *p, const sl_kernel *kernel, range filled)
{
	sl_cutting *c = p->cutting;
	const sl_axis *across = &p->across[SL_LUMA];
	const int low = filled.first * SL_SEGMENT, high = filled.end * SL_SEGMENT;
	int first = 0, end = across->count;
	while (first < end && across->start[first] + across->taps[first] <= low)
		first++;
	while (end > first && across->start[end - 1] >= high)
		end--;
	for (int k = 0; k < 3; k++) {
		memset(c->out[k], 0, first * sizeof *c->out[k]);
		memset(c->out[k] + end, 0, (across->count - end) * sizeof *c->out[k]);
		kernel->across(c->out[k] + first, end - first, c->sums[k], across->start + first,
			       across->weights + (ptrdiff_t)first * across->stride, across->stride);
	}
}

int16_t *const *sl_cutting_row(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3],
			       const ptrdiff_t stride[3], int y)
{
	sl_cutting *c = p->cutting;
	const sl_axis *down = &p->down[SL_LUMA];
	const int first = down->start[y], end = first + down->taps[y];
	const uint16_t *weights = down->weights + (ptrdiff_t)y * down->stride;
	range filled = {c->segments, 0};
	for (int row = first > c->looked ? first : c->looked; row < end; row++)
		look(p, kernel, data, stride, row);
	c->looked = end > c->looked ? end : c->looked;
	for (int row = first; row < end; row++) {
		if (!c->any[row % c->ring])
			continue;
		for (int k = 0; k < 3 && filled.end == 0; k++)
			memset(c->sums[k], 0, (size_t)c->segments * SL_SEGMENT * sizeof *c->sums[k]);
		add_row(p, kernel, data, stride, row, (int16_t)(weights[row - first] >> 1), &filled);
	}
	if (filled.end == 0)
		return NULL;
	scale_sums(p, kernel, filled);
	return c->out;
}
