#include "gamut.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

// Adds up 32·n columns. A byte times 256 is what even bytes are after a shift, and odd ones after
// clearing the even ones; the high half of the product with a weight is the addend.
#define COLUMNS(n)                                                                                                     \
	AVX2 static void down8_##n(int16_t *sums, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights,      \
				   int count)                                                                          \
	{                                                                                                              \
		const __m256i high = _mm256_set1_epi16((short)0xff00);                                                 \
		const __m256i begin = _mm256_set1_epi16((short)sl_lost(count, 255));                                   \
		__m256i even[n], odd[n];                                                                               \
		for (int i = 0; i < n; i++)                                                                            \
			even[i] = odd[i] = begin;                                                                      \
		for (int k = 0; k < count; k++, rows += stride) {                                                      \
			const __m256i w = _mm256_set1_epi16((short)weights[k]);                                        \
			for (int i = 0; i < n; i++) {                                                                  \
				__m256i v = _mm256_loadu_si256((const __m256i *)(rows + 32 * i));                      \
				__m256i e = _mm256_mulhi_epu16(_mm256_slli_epi16(v, 8), w);                            \
				__m256i o = _mm256_mulhi_epu16(_mm256_and_si256(v, high), w);                          \
				even[i] = _mm256_add_epi16(even[i], e);                                                \
				odd[i] = _mm256_add_epi16(odd[i], o);                                                  \
			}                                                                                              \
		}                                                                                                      \
		for (int i = 0; i < n; i++) {                                                                          \
			__m256i e = _mm256_srli_epi16(even[i], 1), o = _mm256_srli_epi16(odd[i], 1);                   \
			__m256i l = _mm256_unpacklo_epi16(e, o), h = _mm256_unpackhi_epi16(e, o);                      \
			_mm256_storeu_si256((__m256i *)(sums + 32 * i), _mm256_permute2x128_si256(l, h, 0x20));        \
			_mm256_storeu_si256((__m256i *)(sums + 32 * i + 16), _mm256_permute2x128_si256(l, h, 0x31));   \
		}                                                                                                      \
	}

COLUMNS(4)
COLUMNS(1)

static void down8(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count)
{
	if (width < 32) {
		sl_portable_kernel.down8(sums, width, rows, stride, weights, count);
		return;
	}
	int x = 0;
	for (; x + 128 <= width; x += 128)
		down8_4(sums + x, rows + x, stride, weights, count);
	for (; x + 32 <= width; x += 32)
		down8_1(sums + x, rows + x, stride, weights, count);
	if (x < width)
		down8_1(sums + width - 32, rows + width - 32, stride, weights, count);
}

AVX2 static inline __m256i dot(const int16_t *from, const uint16_t *weights, int taps)
{
	__m256i sum = _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)from), _mm256_loadu_si256((const __m256i *)weights));
	for (int k = 16; k < taps; k += 16)
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)(from + k)),
							      _mm256_loadu_si256((const __m256i *)(weights + k))));
	return sum;
}

// Adds up eight sums of eight addends each.
AVX2 static inline __m256i fold(const __m256i s[8])
{
	__m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
	__m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(s[4], s[5]), _mm256_hadd_epi32(s[6], s[7]));
	return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

AVX2 static void across(int16_t *out, int count, const int16_t *line, const int32_t *start, const uint16_t *weights, int taps)
{
	const __m256i half = _mm256_set1_epi32(1 << 15);
	int i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256i sums[8];
		for (int j = 0; j < 8; j++)
			sums[j] = dot(line + start[i + j], weights + (ptrdiff_t)(i + j) * taps, taps);
		__m256i eight = _mm256_srai_epi32(_mm256_add_epi32(fold(sums), half), 16);
		__m128i narrow = _mm_packs_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
		_mm_storeu_si128((__m128i *)(out + i), narrow);
	}
	if (i < count)
		sl_portable_kernel.across(out + i, count - i, line, start + i, weights + (ptrdiff_t)i * taps, taps);
}

// Adds up 64 columns of two bytes each.
AVX2 static void down16_64(int16_t *sums, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count, int raise)
{
	const __m128i shift = _mm_cvtsi32_si128(raise);
	__m256i acc[4];
	for (int i = 0; i < 4; i++)
		acc[i] = _mm256_set1_epi16((short)sl_lost16(count, raise));
	for (int k = 0; k < count; k++, rows += stride) {
		const __m256i w = _mm256_set1_epi16((short)weights[k]);
		for (int i = 0; i < 4; i++) {
			__m256i v = _mm256_loadu_si256((const __m256i *)(rows + 32 * i));
			acc[i] = _mm256_add_epi16(acc[i], _mm256_mulhi_epu16(_mm256_sll_epi16(v, shift), w));
		}
	}
	for (int i = 0; i < 4; i++)
		_mm256_storeu_si256((__m256i *)(sums + 16 * i), _mm256_srli_epi16(acc[i], 1));
}

static void down16(int16_t *sums, int width, const uint8_t *rows, ptrdiff_t stride, const uint16_t *weights, int count, int raise)
{
	if (width < 64) {
		sl_portable_kernel.down16(sums, width, rows, stride, weights, count, raise);
		return;
	}
	int x = 0;
	for (; x + 64 <= width; x += 64)
		down16_64(sums + x, rows + 2 * (ptrdiff_t)x, stride, weights, count, raise);
	if (x < width)
		down16_64(sums + width - 64, rows + 2 * (ptrdiff_t)(width - 64), stride, weights, count, raise);
}

AVX2 static void convert(uint8_t *out, int width, int16_t *const samples[3], int16_t *const cut[3], const int32_t matrix[3][4],
		    int order)
{
	sl_convert(out, width, samples, cut, matrix, order);
}

AVX2 static inline __m256i from_middle(const uint8_t *chroma)
{
	const __m256i middle = _mm256_set1_epi8((char)128);
	__m256i c = _mm256_loadu_si256((const __m256i *)chroma);
	return _mm256_or_si256(_mm256_subs_epu8(c, middle), _mm256_subs_epu8(middle, c));
}

AVX2 static void reach(uint8_t *out, const uint8_t *u, const uint8_t *v, int n)
{
	int x = 0;
	for (; x + 32 <= n; x += 32) {
		__m256i most = _mm256_max_epu8(from_middle(u + x), from_middle(v + x));
		_mm256_storeu_si256((__m256i *)(out + x), _mm256_adds_epu8(most, most));
	}
	sl_reach(out + x, u + x, v + x, n - x);
}

AVX2 static void near(uint8_t *flags, const uint8_t *luma, const uint8_t *reach, int segments, int bottom, int top)
{
	const __m256i black = _mm256_set1_epi8((char)bottom), white = _mm256_set1_epi8((char)top);
	for (int i = 0; i < segments; i++, luma += SL_SEGMENT, reach += SL_SEGMENT) {
		__m256i y = _mm256_loadu_si256((const __m256i *)luma), r = _mm256_loadu_si256((const __m256i *)reach);
		__m256i above = _mm256_subs_epu8(y, _mm256_subs_epu8(white, r));
		__m256i below = _mm256_subs_epu8(_mm256_adds_epu8(black, r), y);
		__m256i any = _mm256_or_si256(above, below);
		flags[i] = (uint8_t)!_mm256_testz_si256(any, any);
	}
}

// Works out 16 of one colour; yu and v0 hold y and u, and v and 0, of pixels 0 to 3 and 8 to 11, and
// of the others.
AVX2 static inline __m256i cut16(const __m256i yu[2], const __m256i v0[2], const int32_t row[4])
{
	const __m256i ab = _mm256_set1_epi32((int32_t)((uint32_t)row[0] & 0xffff) | (int32_t)((uint32_t)row[1] << 16));
	const __m256i d = _mm256_set1_epi32((int32_t)((uint32_t)row[2] & 0xffff));
	const __m256i offset = _mm256_set1_epi32(sl_offset(row));
	__m256i level[2];
	for (int i = 0; i < 2; i++) {
		__m256i sum = _mm256_add_epi32(_mm256_madd_epi16(yu[i], ab), _mm256_madd_epi16(v0[i], d));
		level[i] = _mm256_srai_epi32(_mm256_add_epi32(sum, offset), 7);
	}
	__m256i levels = _mm256_packs_epi32(level[0], level[1]);
	__m256i kept = _mm256_min_epi16(_mm256_max_epi16(levels, _mm256_setzero_si256()), _mm256_set1_epi16(255 * 64));
	__m256i lost = _mm256_subs_epi16(kept, levels);
	return _mm256_adds_epi16(lost, lost);
}

AVX2 static int cut(int16_t out[3][SL_SEGMENT], const sl_colors *colors, const int32_t matrix[3][4])
{
	const __m256i zero = _mm256_setzero_si256();
	__m256i any[3] = {zero, zero, zero};
	for (int x = 0; x < SL_SEGMENT; x += 16) {
		__m256i y = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(colors->y + x)));
		__m256i u = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(colors->u + x)));
		__m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(colors->v + x)));
		const __m256i yu[2] = {_mm256_unpacklo_epi16(y, u), _mm256_unpackhi_epi16(y, u)};
		const __m256i v0[2] = {_mm256_unpacklo_epi16(v, zero), _mm256_unpackhi_epi16(v, zero)};
		for (int c = 0; c < 3; c++) {
			__m256i lost = cut16(yu, v0, matrix[c]);
			_mm256_storeu_si256((__m256i *)(out[c] + x), lost);
			any[c] = _mm256_or_si256(any[c], lost);
		}
	}
	return !_mm256_testz_si256(any[0], any[0]) | !_mm256_testz_si256(any[1], any[1]) << 1 | !_mm256_testz_si256(any[2], any[2]) << 2;
}

AVX2 static void add(int16_t *sums, const int16_t *segment, int16_t weight)
{
	const __m256i w = _mm256_set1_epi16(weight);
	for (int x = 0; x < SL_SEGMENT; x += 16) {
		__m256i *to = (__m256i *)(sums + x);
		__m256i addend = _mm256_mulhrs_epi16(_mm256_loadu_si256((const __m256i *)(segment + x)), w);
		_mm256_storeu_si256(to, _mm256_add_epi16(_mm256_loadu_si256(to), addend));
	}
}

const sl_kernel sl_avx2_kernel = {down8, down16, across, convert, reach, near, cut, add};
#endif
