// Colours outside of RGB. A camera's luma and chroma can describe colours that no RGB has; converted
// picture by picture they are cut off before anything is averaged, and cutting off the average instead
// gives other colours at bright and dark edges. So what is cut off is added up by the same weights as
// the picture, and added to the result. Few pixels are concerned, which are found 32 at a time.
#ifndef SIGHTLINE_GAMUT_H
#define SIGHTLINE_GAMUT_H

#include "kernel.h"

#define SL_INLINE static inline __attribute__((always_inline))

// Works out between which lumas the colours of n pixels are within RGB.
SL_INLINE void sl_bounds(uint8_t *restrict low, uint8_t *restrict high, const uint8_t *restrict u,
			 const uint8_t *restrict v, int n, const sl_gamut *g)
{
	const int16_t red = g->red, green_u = g->green_u, green_v = g->green_v, blue = g->blue;
	const int16_t bottom = g->low, top = g->high;
	for (int i = 0; i < n; i++) {
		int16_t b = u[i] - 128, r = v[i] - 128;
		int16_t s[3] = {(int16_t)(red * r), (int16_t)(green_u * b + green_v * r), (int16_t)(blue * b)};
		int16_t most = s[0] > s[1] ? s[0] : s[1], least = s[0] < s[1] ? s[0] : s[1];
		most = most > s[2] ? most : s[2];
		least = least < s[2] ? least : s[2];
		int16_t h = (int16_t)(top - most) >> 6, l = (int16_t)(bottom - least + 63) >> 6;
		high[i] = (uint8_t)(h < 0 ? 0 : h > 255 ? 255 : h);
		low[i] = (uint8_t)(l < 0 ? 0 : l > 255 ? 255 : l);
	}
}

// Sets flags[i] when any of the SL_SEGMENT pixels from i·SL_SEGMENT on is outside of RGB; tells whether any is.
SL_INLINE int sl_mark(uint8_t *restrict flags, const uint8_t *restrict luma, const uint8_t *restrict low,
		      const uint8_t *restrict high, int n)
{
	uint8_t all = 0;
	for (int i = 0; i < n; i += SL_SEGMENT) {
		uint8_t any = 0;
		if (n - i >= SL_SEGMENT)
			for (int k = i; k < i + SL_SEGMENT; k++)
				any |= (luma[k] > high[k]) | (luma[k] < low[k]);
		else
			for (int k = i; k < n; k++)
				any |= (luma[k] > high[k]) | (luma[k] < low[k]);
		flags[i / SL_SEGMENT] = any;
		all |= any;
	}
	return all;
}

// Adds what n pixels lose by cutting off, times a weight, to the sums for red, green and blue:
// 1/64 of a level, in 1/65535.
SL_INLINE void sl_cut(int32_t *const sums[3], const uint8_t *restrict y, const uint8_t *restrict u,
		      const uint8_t *restrict v, int n, int32_t weight, const int32_t matrix[3][4])
{
	for (int c = 0; c < 3; c++) {
		int32_t *restrict sum = sums[c];
		const int32_t a = matrix[c][0], b = matrix[c][1], d = matrix[c][2];
		const int32_t offset = (matrix[c][3] >> 6) - 4096 + 64; // without the half that rounds
		for (int i = 0; i < n; i++) {
			int32_t level = (y[i] * a + u[i] * b + v[i] * d + offset) >> 7;
			int32_t kept = level < 0 ? 0 : level > 255 * 64 ? 255 * 64 : level;
			sum[i] += (kept - level) * weight;
		}
	}
}

#endif
