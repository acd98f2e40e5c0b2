// Crops, scales and converts one picture in a single pass over it: down each column first, with the
// rows as they lie in memory, then across, then to RGB, one row of the frame at a time.
#ifndef SIGHTLINE_SCALE_H
#define SIGHTLINE_SCALE_H

#include "kernel.h"

#include <stddef.h>
#include <stdint.h>

// The weights of one axis. Sample i of the output is the sum of taps[i] samples of the input from
// start[i] on, each times its weight; weights[i*stride] is the first.
typedef struct {
	int count, stride;
	int32_t *start, *taps;
	uint16_t *weights; // down: 65535 in all; across: 32767 in all, 0 from taps to stride
} sl_axis;

enum { SL_LUMA, SL_CHROMA, SL_AXES };
enum { SL_GRAY, SL_YUV, SL_RGB };

// What does not change from picture to picture. Set by the caller, but for the pointers, by sl_plan_open.
typedef struct {
	int model;
	int wide; // samples have two bytes
	int raise; // bits that a sample of two bytes must be shifted left to fill 16
	int step[3]; // bytes from sample to sample
	int column[SL_AXES], columns[SL_AXES]; // the samples of a row that are used
	sl_axis across[SL_AXES], down[SL_AXES];
	int frame_width, frame_height; // of the frame
	int left, top;                 // of the picture in it; its size is across[0].count by down[0].count
	int pad;                       // value of the bytes outside of it
	int bgr;
	int32_t matrix[3][4]; // red, green, blue from the components and 1, in 1/8192
	int black, white;     // of YUV: the luma of black and white
	int sub_x, sub_y;     // of YUV: binary logarithms of the pixels that share a chroma sample
	int portable;         // without instructions that not every processor has
	int16_t *sums, *line, *samples[3];
	struct sl_cutting *cutting; // of YUV
} sl_plan;

// Copies the weights of one axis; 0 without memory.
int sl_axis_set(sl_axis *axis, int count, int stride, const int32_t *start, const int32_t *taps,
		const uint16_t *weights);
// Takes the memory that the plan needs besides; 0 without memory.
int sl_plan_open(sl_plan *plan);
void sl_plan_close(sl_plan *plan);

// Tells whether this processor has what the fast way needs.
int sl_fast(void);

// Fills frame, frame_width×frame_height×3 bytes, from the components of a picture.
void sl_scale(const sl_plan *plan, const uint8_t *data0, ptrdiff_t stride0, const uint8_t *data1, ptrdiff_t stride1,
	      const uint8_t *data2, ptrdiff_t stride2, uint8_t *frame);

#endif
