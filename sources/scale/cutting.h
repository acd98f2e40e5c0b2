// What is cut off of the colours of one picture, row by row of the frame. See gamut.h.
#ifndef SIGHTLINE_CUTTING_H
#define SIGHTLINE_CUTTING_H

#include "scale.h"

typedef struct sl_cutting sl_cutting;

sl_cutting *sl_cutting_open(const sl_plan *p); // NULL without memory
void sl_cutting_close(sl_cutting *c);

// Begins a new picture.
void sl_cutting_begin(sl_cutting *c);

// Returns what is cut off for red, green and blue in row y of the frame, in 1/64 of a level; NULL when
// nothing is. Rows are asked for in order.
int16_t *const *sl_cutting_row(const sl_plan *p, const sl_kernel *kernel, const uint8_t *const data[3],
			       const ptrdiff_t stride[3], int y);

#endif
