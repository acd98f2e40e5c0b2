#include "scale.h"
#include "cutting.h"

#include <stdlib.h>
#include <string.h>

int sl_axis_set(sl_axis *a, int count, int stride, const int32_t *start, const int32_t *taps, const uint16_t *weights)
{
	a->count = count;
	a->stride = stride;
	a->start = malloc(count * sizeof *start);
	a->taps = malloc(count * sizeof *taps);
	a->weights = malloc((size_t)count * stride * sizeof *weights);
	if (!a->start || !a->taps || !a->weights)
		return 0;
	memcpy(a->start, start, count * sizeof *start);
	memcpy(a->taps, taps, count * sizeof *taps);
	memcpy(a->weights, weights, (size_t)count * stride * sizeof *weights);
	return 1;
}

static void free_axis(sl_axis *a)
{
	free(a->start);
	free(a->taps);
	free(a->weights);
}

int sl_plan_open(sl_plan *p)
{
	size_t columns = p->columns[SL_LUMA] > p->columns[SL_CHROMA] ? p->columns[SL_LUMA] : p->columns[SL_CHROMA];
	size_t step = p->step[0] > p->step[1] ? p->step[0] : p->step[1];
	size_t slack = p->across[SL_LUMA].stride > p->across[SL_CHROMA].stride ? p->across[SL_LUMA].stride : p->across[SL_CHROMA].stride;
	int ok = 1;
	p->sums = calloc(columns * step + slack + SL_SLACK, sizeof *p->sums);
	p->line = calloc(columns + slack + SL_SLACK, sizeof *p->line);
	for (int i = 0; i < 3; i++) {
		p->samples[i] = calloc((size_t)p->across[SL_LUMA].count + SL_SLACK, sizeof *p->samples[i]);
		ok = ok && p->samples[i];
	}
	if (p->model == SL_YUV) {
		p->cutting = sl_cutting_open(p);
		ok = ok && p->cutting;
	}
	return ok && p->sums && p->line;
}

void sl_plan_close(sl_plan *p)
{
	if (!p)
		return;
	for (int i = 0; i < SL_AXES; i++) {
		free_axis(&p->across[i]);
		free_axis(&p->down[i]);
	}
	for (int i = 0; i < 3; i++)
		free(p->samples[i]);
	sl_cutting_close(p->cutting);
	free(p->sums);
	free(p->line);
	free(p);
}

int sl_fast(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("avx2");
#else
	return 0;
#endif
}

static const sl_kernel *kernel_for(const sl_plan *p)
{
#if defined(__x86_64__)
	if (!p->portable && sl_fast())
		return &sl_avx2_kernel;
#endif
	(void)p;
	return &sl_portable_kernel;
}

// Components that lie between each other, such as U and V of NV12, are summed up together.
typedef struct {
	const uint8_t *data; // of the first of them
	ptrdiff_t stride;
	int members, member[3], offset[3]; // offset: in samples
	int axis, step;                    // step: in samples
} group;

static int make_groups(group groups[3], const sl_plan *p, const uint8_t *const data[3], const ptrdiff_t stride[3])
{
	int count = 0, bytes = p->wide ? 2 : 1;
	for (int i = 0; i < (p->model == SL_GRAY ? 1 : 3); i++) {
		group *g = count ? &groups[count - 1] : NULL;
		int axis = p->model == SL_YUV && i > 0 ? SL_CHROMA : SL_LUMA;
		ptrdiff_t apart = g ? data[i] - g->data : 0;
		if (!g || g->axis != axis || g->stride != stride[i] || g->step * bytes != p->step[i] ||
		    apart <= -p->step[i] || apart >= p->step[i]) {
			g = &groups[count++];
			*g = (group){.data = data[i], .stride = stride[i], .axis = axis, .step = p->step[i] / bytes};
			apart = 0;
		}
		if (apart < 0) {
			for (int m = 0; m < g->members; m++)
				g->offset[m] -= (int)apart / bytes;
			g->data = data[i];
			apart = 0;
		}
		g->member[g->members] = i;
		g->offset[g->members++] = (int)apart / bytes;
	}
	return count;
}

static void scale_group(const sl_plan *p, const sl_kernel *kernel, const group *g, int row)
{
	const sl_axis *down = &p->down[g->axis], *across = &p->across[g->axis];
	const int columns = p->columns[g->axis], bytes = p->wide ? 2 : 1;
	const uint8_t *rows = g->data + down->start[row] * g->stride + (ptrdiff_t)p->column[g->axis] * g->step * bytes;
	const uint16_t *weights = down->weights + (ptrdiff_t)row * down->stride;
	int width = (columns - 1) * g->step + 1, last = 0;
	for (int m = 0; m < g->members; m++)
		last = g->offset[m] > last ? g->offset[m] : last;
	if (p->wide)
		kernel->down16(p->sums, width + last, rows, g->stride, weights, down->taps[row], p->raise);
	else
		kernel->down8(p->sums, width + last, rows, g->stride, weights, down->taps[row]);
	for (int m = 0; m < g->members; m++) {
		const int16_t *line = p->sums;
		if (g->step > 1) {
			for (int x = 0; x < columns; x++)
				p->line[x] = p->sums[x * g->step + g->offset[m]];
			line = p->line;
		}
		kernel->across(p->samples[g->member[m]], across->count, line, across->start, across->weights, across->stride);
	}
}

void sl_scale(const sl_plan *p, const uint8_t *data0, ptrdiff_t stride0, const uint8_t *data1, ptrdiff_t stride1,
	      const uint8_t *data2, ptrdiff_t stride2, uint8_t *frame)
{
	const uint8_t *const data[3] = {data0, data1, data2};
	const ptrdiff_t stride[3] = {stride0, stride1, stride2};
	const sl_kernel *kernel = kernel_for(p);
	const int width = p->across[SL_LUMA].count, height = p->down[SL_LUMA].count;
	group groups[3];
	const int count = make_groups(groups, p, data, stride);

	if (p->cutting)
		sl_cutting_begin(p->cutting);
	if (width != p->frame_width || height != p->frame_height)
		memset(frame, p->pad, (size_t)p->frame_width * p->frame_height * 3);
	for (int y = 0; y < height; y++) {
		for (int i = 0; i < count; i++)
			scale_group(p, kernel, &groups[i], y);
		uint8_t *out = frame + ((size_t)(p->top + y) * p->frame_width + p->left) * 3;
		int16_t *const *cut = p->cutting ? sl_cutting_row(p, kernel, data, stride, y) : NULL;
		kernel->convert(out, width, p->samples, cut, p->matrix, p->bgr);
	}
}
