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

static void convert(uint8_t *out, int width, int16_t *const samples[3], int16_t *const cut[3], const int32_t matrix[3][4],
		    int order)
{
	sl_convert(out, width, samples, cut, matrix, order);
}

static void bounds(uint8_t *low, uint8_t *high, const uint8_t *u, const uint8_t *v, int n, const sl_gamut *g)
{
	sl_bounds(low, high, u, v, n, g);
}

static int mark(uint8_t *flags, const uint8_t *luma, const uint8_t *low, const uint8_t *high, int n)
{
	return sl_mark(flags, luma, low, high, n);
}

static void cut(int32_t *const sums[3], const uint8_t *y, const uint8_t *u, const uint8_t *v, int n, int32_t weight,
		const int32_t matrix[3][4])
{
	sl_cut(sums, y, u, v, n, weight, matrix);
}

const sl_kernel sl_portable_kernel = {down8, across, convert, bounds, mark, cut};
