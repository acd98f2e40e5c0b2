// The inner loops, each in the portable way and, on x86, by AVX2. Both give the same bytes.
#ifndef SIGHTLINE_KERNEL_H
#define SIGHTLINE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

// How many samples the loops may read behind the last one of a line.
enum { SL_SLACK = 32 };
// How many pixels are looked at together for colours outside of RGB.
enum { SL_SEGMENT = 32 };

// The pixels of a segment.
typedef struct {
	uint8_t y[SL_SEGMENT], u[SL_SEGMENT], v[SL_SEGMENT];
} sl_colors;

typedef struct {
	// Adds up count rows of width samples, times their weights: sums in 1/128 of a level of 8 bits.
	void (*down8)(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count);
	// The same for samples of two bytes in little-endian order, which raise shifts to 16 bits.
	void (*down16)(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count,
		       int raise);
	// Adds up samples of a line: out in 1/64 of a level. taps is a multiple of 16.
	void (*across)(int16_t *out, int count, const int16_t *line, const int32_t *start, const uint16_t *weights, int taps);
	// Converts width pixels; order is 0 for RGB, 1 for BGR. cut is what was cut off, or NULL.
	void (*convert)(uint8_t *out, int width, int16_t *const samples[3], int16_t *const cut[3],
			const int32_t matrix[3][4], int order);
	// See gamut.h.
	void (*reach)(uint8_t *reach, const uint8_t *u, const uint8_t *v, int n);
	void (*near)(uint8_t *flags, const uint8_t *luma, const uint8_t *reach, int segments, int bottom, int top);
	int (*cut)(int16_t out[3][SL_SEGMENT], const sl_colors *colors, const int32_t matrix[3][4]);
	void (*add)(int16_t *sums, const int16_t *segment, int16_t weight);
} sl_kernel;

extern const sl_kernel sl_portable_kernel;
#if defined(__x86_64__)
extern const sl_kernel sl_avx2_kernel;
#endif

// What cutting off the fraction of each of count products loses on average; that much is added again,
// as far as sums of samples of up to 255 times 256, or of raise bits less than 16, leave room for it.
static inline uint16_t sl_lost(int count, int room)
{
	return (uint16_t)(count / 2 < room ? count / 2 : room);
}
static inline uint16_t sl_lost16(int count, int raise)
{
	return sl_lost(count, (1 << raise) - 1);
}

// Shared by both ways, so that each compiles it for its own processor.
static inline __attribute__((always_inline)) uint8_t sl_clip(int32_t v)
{
	return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// The offset of a row of the matrix for a result in 1/64 of a level, times 128, rounded to nearest.
static inline int32_t sl_offset(const int32_t row[4])
{
	return (row[3] >> 6) - 4096 + 64;
}

static inline __attribute__((always_inline)) void sl_convert(uint8_t *restrict out, int width, int16_t *const samples[3],
							       int16_t *const cut[3], const int32_t matrix[3][4], int order)
{
	const int16_t *restrict a = samples[0], *restrict b = samples[1], *restrict c = samples[2];
	const int first = order ? 2 : 0, third = order ? 0 : 2;
	const int32_t f0 = matrix[first][0], f1 = matrix[first][1], f2 = matrix[first][2], f3 = matrix[first][3];
	const int32_t s0 = matrix[1][0], s1 = matrix[1][1], s2 = matrix[1][2], s3 = matrix[1][3];
	const int32_t t0 = matrix[third][0], t1 = matrix[third][1], t2 = matrix[third][2], t3 = matrix[third][3];
	if (!cut) {
		for (int i = 0; i < width; i++) {
			out[3 * i] = sl_clip((a[i] * f0 + b[i] * f1 + c[i] * f2 + f3) >> 19);
			out[3 * i + 1] = sl_clip((a[i] * s0 + b[i] * s1 + c[i] * s2 + s3) >> 19);
			out[3 * i + 2] = sl_clip((a[i] * t0 + b[i] * t1 + c[i] * t2 + t3) >> 19);
		}
		return;
	}
	const int16_t *restrict f = cut[first], *restrict s = cut[1], *restrict t = cut[third];
	for (int i = 0; i < width; i++) {
		out[3 * i] = sl_clip((a[i] * f0 + b[i] * f1 + c[i] * f2 + f3 + f[i] * 8192) >> 19);
		out[3 * i + 1] = sl_clip((a[i] * s0 + b[i] * s1 + c[i] * s2 + s3 + s[i] * 8192) >> 19);
		out[3 * i + 2] = sl_clip((a[i] * t0 + b[i] * t1 + c[i] * t2 + t3 + t[i] * 8192) >> 19);
	}
}

#endif
