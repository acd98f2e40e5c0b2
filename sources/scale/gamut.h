// Colours outside of RGB. A camera's luma and chroma can describe colours that no RGB has. Converted
// pixel by pixel they are cut off before anything is averaged; cutting off the average instead gives
// other colours at bright and dark edges. So what is cut off is added up by the same weights as the
// picture, and added to the result. Few pixels are concerned; they are looked for in segments.
#ifndef SIGHTLINE_GAMUT_H
#define SIGHTLINE_GAMUT_H

#include "kernel.h"

#define SL_INLINE static inline __attribute__((always_inline))

// The segment's functions in plain C; those of the kernels give the same.

// Works out how far chroma can take red, green or blue from luma: at most 2 steps for each of its own,
// by any matrix.
SL_INLINE void sl_reach(uint8_t *restrict reach, const uint8_t *restrict u, const uint8_t *restrict v, int n)
{
	for (int i = 0; i < n; i++) { // in bytes throughout, so that compilers take whole vectors of them
		uint8_t b = u[i] > 128 ? (uint8_t)(u[i] - 128) : (uint8_t)(128 - u[i]);
		uint8_t r = v[i] > 128 ? (uint8_t)(v[i] - 128) : (uint8_t)(128 - v[i]);
		uint8_t most = b > r ? b : r;
		reach[i] = most > 127 ? 255 : (uint8_t)(most + most);
	}
}

// Tells of each segment whether luma is so near to the ends of its range that chroma could take a
// colour out of RGB.
SL_INLINE void sl_near(uint8_t *restrict flags, const uint8_t *restrict luma, const uint8_t *restrict reach, int segments,
		       uint8_t bottom, uint8_t top)
{
	const uint8_t room = (uint8_t)(255 - bottom);
	for (int k = 0; k < segments; k++, luma += SL_SEGMENT, reach += SL_SEGMENT) {
		uint8_t any = 0;
		for (int i = 0; i < SL_SEGMENT; i++) {
			uint8_t high = reach[i] > top ? 0 : (uint8_t)(top - reach[i]);
			uint8_t low = reach[i] > room ? 255 : (uint8_t)(bottom + reach[i]);
			any |= (uint8_t)((luma[i] > high) | (luma[i] < low));
		}
		flags[k] = any;
	}
}

// Works out what is cut off, in 1/128 of a level of red, green and blue; returns 1 if anything of red is,
// plus 2 for green and 4 for blue.
SL_INLINE int sl_cut(int16_t out[3][SL_SEGMENT], const sl_colors *colors, const int32_t matrix[3][4])
{
	int which = 0;
	for (int c = 0; c < 3; c++) {
		int16_t any = 0;
		const int32_t a = matrix[c][0], b = matrix[c][1], d = matrix[c][2], offset = sl_offset(matrix[c]);
		for (int i = 0; i < SL_SEGMENT; i++) {
			int32_t level = (colors->y[i] * a + colors->u[i] * b + colors->v[i] * d + offset) >> 7;
			level = level > 32767 ? 32767 : level < -32768 ? -32768 : level;
			int32_t kept = level < 0 ? 0 : level > 255 * 64 ? 255 * 64 : level;
			int32_t lost = 2 * (kept - level);
			out[c][i] = (int16_t)(lost > 32767 ? 32767 : lost < -32768 ? -32768 : lost);
			any |= out[c][i];
		}
		which |= (any != 0) << c;
	}
	return which;
}

// Adds a segment times a weight, in 1/32768.
SL_INLINE void sl_add(int16_t *restrict sums, const int16_t *restrict segment, int16_t weight)
{
	for (int i = 0; i < SL_SEGMENT; i++)
		sums[i] = (int16_t)(sums[i] + ((segment[i] * weight + (1 << 14)) >> 15));
}

#endif
