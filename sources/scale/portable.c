#include "gamut.h"

enum { BLOCK = 64 }; // columns whose sums fit into registers

static inline __attribute__((always_inline)) void down8_block(int16_t *restrict sums, int width,
							       const uint8_t *restrict rows, ptrdiff_t stride,
							       const uint16_t *restrict weights, int count)
{
	uint16_t acc[BLOCK];
	for (int x = 0; x < width; x++)
		acc[x] = sl_lost(count, 255);
	for (int k = 0; k < count; k++) {
		const uint8_t *restrict row = rows + k * stride;
		const uint32_t w = weights[k];
		for (int x = 0; x < width; x++)
			acc[x] += (uint16_t)(row[x] * w >> 8);
	}
	for (int x = 0; x < width; x++)
		sums[x] = (int16_t)(acc[x] >> 1);
}

static void down8(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count)
{
	int x = 0;
	for (; x + BLOCK <= width; x += BLOCK)
		down8_block(sums + x, BLOCK, rows + x, stride, weights, count);
	if (x < width && width >= BLOCK)
		down8_block(sums + width - BLOCK, BLOCK, rows + width - BLOCK, stride, weights, count);
	else if (x < width)
		down8_block(sums + x, width - x, rows + x, stride, weights, count);
}

static void across(int16_t *restrict out, int count, const int16_t *restrict line, const int32_t *restrict start,
		   const uint16_t *restrict weights, int taps)
{
	for (int i = 0; i < count; i++) {
		const int16_t *restrict from = line + start[i];
		const int16_t *restrict w = (const int16_t *)weights + (ptrdiff_t)i * taps;
		int32_t sum = 1 << 15;
		for (int k = 0; k < taps; k++)
			sum += from[k] * w[k];
		out[i] = (int16_t)(sum >> 16);
	}
}

static inline uint32_t sample16(const uint8_t *row, int x, int raise)
{
	return ((uint32_t)row[2 * x] | (uint32_t)row[2 * x + 1] << 8) << raise & 0xffff;
}

static void down16(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count, int raise)
{
	for (int x = 0; x < width; x++) {
		uint32_t sum = sl_lost16(count, raise);
		for (int k = 0; k < count; k++)
			sum += sample16(rows + k * stride, x, raise) * weights[k] >> 16;
		sums[x] = (int16_t)(sum >> 1);
	}
}

static void convert(uint8_t *out, int width, int16_t *const samples[3], int16_t *const cut[3], const int32_t matrix[3][4],
		    int order)
{
	sl_convert(out, width, samples, cut, matrix, order);
}

static void reach(uint8_t *out, const uint8_t *u, const uint8_t *v, int n)
{
	sl_reach(out, u, v, n);
}

static void near(uint8_t *flags, const uint8_t *luma, const uint8_t *reach, int segments, int bottom, int top)
{
	sl_near(flags, luma, reach, segments, (uint8_t)bottom, (uint8_t)top);
}

static int cut(int16_t out[3][SL_SEGMENT], const sl_colors *colors, const int32_t matrix[3][4])
{
	return sl_cut(out, colors, matrix);
}

static void add(int16_t *sums, const int16_t *segment, int16_t weight)
{
	sl_add(sums, segment, weight);
}

const sl_kernel sl_portable_kernel = {down8, down16, across, convert, reach, near, cut, add};
