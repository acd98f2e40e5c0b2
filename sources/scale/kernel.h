// The three inner loops, each in the portable way and, on x86, by AVX2. Both give the same bytes.
#ifndef SIGHTLINE_KERNEL_H
#define SIGHTLINE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

// How many samples the loops may read behind the last one of a line.
enum { SL_SLACK = 32 };

typedef struct {
	// Adds up count rows of width samples, times their weights: sums in 1/128 of a level of 8 bits.
	void (*down8)(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count);
	// Adds up samples of a line: out in 1/64 of a level. taps is a multiple of 16.
	void (*across)(int16_t *out, int count, const int16_t *line, const int32_t *start, const uint16_t *weights, int taps);
	// Converts width pixels; order is 0 for RGB, 1 for BGR.
	void (*convert)(uint8_t *out, int width, int16_t *const samples[3], const int32_t matrix[3][4], int order);
} sl_kernel;

extern const sl_kernel sl_portable_kernel;
#if defined(__x86_64__)
extern const sl_kernel sl_avx2_kernel;
#endif

// What truncating each of count products loses on average, without which nothing overflows.
static inline uint16_t sl_lost(int count, int room)
{
	return (uint16_t)(count / 2 < room ? count / 2 : room);
}

// Shared by both ways, so that each compiles it for its own processor.
static inline __attribute__((always_inline)) uint8_t sl_clip(int32_t v)
{
	return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static inline __attribute__((always_inline)) void sl_convert(uint8_t *restrict out, int width, int16_t *const samples[3],
							       const int32_t matrix[3][4], int order)
{
	const int16_t *restrict a = samples[0], *restrict b = samples[1], *restrict c = samples[2];
	const int32_t *first = matrix[order ? 2 : 0], *second = matrix[1], *third = matrix[order ? 0 : 2];
	const int32_t f0 = first[0], f1 = first[1], f2 = first[2], f3 = first[3];
	const int32_t s0 = second[0], s1 = second[1], s2 = second[2], s3 = second[3];
	const int32_t t0 = third[0], t1 = third[1], t2 = third[2], t3 = third[3];
	for (int i = 0; i < width; i++) {
		out[3 * i] = sl_clip((a[i] * f0 + b[i] * f1 + c[i] * f2 + f3) >> 19);
		out[3 * i + 1] = sl_clip((a[i] * s0 + b[i] * s1 + c[i] * s2 + s3) >> 19);
		out[3 * i + 2] = sl_clip((a[i] * t0 + b[i] * t1 + c[i] * t2 + t3) >> 19);
	}
}

#endif
