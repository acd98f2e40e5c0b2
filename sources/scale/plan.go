package scale

/*
#cgo CFLAGS: -O3
#include <stdlib.h>
#include "scale.h"
*/
import "C"

import (
	"errors"
	"math"
	"unsafe"

	"sightline/pipeline"
	"sightline/sources/picture"
)

const (
	totalDown   = 65535 // sum of the weights down; see sl_axis
	totalAcross = 32767 // sum of the weights across
	alignAcross = 16    // weights that the loop across takes at once
)

// key is all that a plan depends on.
type key struct {
	width, height int
	model         picture.Model
	matrix        picture.Matrix
	full          bool
	subX, subY    uint8
	depth, shift  uint8
	step          [3]int

	frameW, frameH           int
	color                    pipeline.Color
	resize                   pipeline.ResizeType
	crop                     float64
	pad                      uint8
	left, top, right, bottom float64
}

func keyOf(p *picture.Picture, w *pipeline.Wish, r pipeline.Region) key {
	k := key{
		width: p.Width, height: p.Height, model: p.Model, matrix: p.Matrix, full: p.FullRange,
		subX: p.SubX, subY: p.SubY, depth: p.Depth, shift: p.Shift,
		frameW: w.Width, frameH: w.Height, color: w.Color, resize: w.Resize, crop: w.CropFraction, pad: w.Pad,
		left: r.Left, top: r.Top, right: r.Right, bottom: r.Bottom,
	}
	for i := range p.Count() {
		k.step[i] = p.Components[i].Step
	}
	return k
}

// newPlan works out everything for pictures like p, in C memory. sl_plan_close frees it.
func newPlan(p *picture.Picture, w *pipeline.Wish, r pipeline.Region, portable bool) (*C.sl_plan, error) {
	g, err := arrange(p.Width, p.Height, w, r)
	if err != nil {
		return nil, err
	}
	plan := (*C.sl_plan)(C.calloc(1, C.sizeof_sl_plan))
	if plan == nil {
		return nil, errors.New("no memory")
	}
	plan.model = [...]C.int{picture.Gray: C.SL_GRAY, picture.YUV: C.SL_YUV, picture.RGB: C.SL_RGB}[p.Model]
	if p.Depth > 8 {
		plan.wide, plan.raise = 1, C.int(16-p.Depth-p.Shift)
	}
	for i := range p.Count() {
		plan.step[i] = C.int(p.Components[i].Step)
	}
	plan.frame_width, plan.frame_height = C.int(g.frameW), C.int(g.frameH)
	plan.left, plan.top, plan.pad = C.int(g.left), C.int(g.top), C.int(w.Pad)
	if w.Color == pipeline.BGR {
		plan.bgr = 1
	}
	if portable {
		plan.portable = 1
	}
	plan.sub_x, plan.sub_y = C.int(p.SubX), C.int(p.SubY)
	plan.black, plan.white = 16, 235
	if p.FullRange {
		plan.black, plan.white = 0, 255
	}
	for i, row := range matrix(p) {
		for j, v := range row {
			plan.matrix[i][j] = C.int32_t(v)
		}
	}
	if !setAxes(plan, &g, p) || C.sl_plan_open(plan) == 0 {
		C.sl_plan_close(plan)
		return nil, errors.New("no memory")
	}
	return plan, nil
}

func setAxes(plan *C.sl_plan, g *geometry, p *picture.Picture) bool {
	subX, subY := p.SubX, p.SubY
	if p.Model != picture.YUV {
		subX, subY = 0, 0
	}
	for i, shift := range [...][2]uint8{C.SL_LUMA: {0, 0}, C.SL_CHROMA: {subX, subY}} {
		across := newAxis(g.x, shift[0], totalAcross, alignAcross)
		for k := range across.start {
			across.start[k] -= int32(across.first)
		}
		plan.column[i], plan.columns[i] = C.int(across.first), C.int(across.end-across.first)
		down := newAxis(g.y, shift[1], totalDown, 1)
		if !set(&plan.across[i], &across) || !set(&plan.down[i], &down) {
			return false
		}
	}
	return true
}

func set(c *C.sl_axis, a *axis) bool {
	return C.sl_axis_set(c, C.int(len(a.start)), C.int(a.stride), (*C.int32_t)(unsafe.Pointer(&a.start[0])),
		(*C.int32_t)(unsafe.Pointer(&a.taps[0])), (*C.uint16_t)(unsafe.Pointer(&a.weights[0]))) != 0
}

// conversion returns how RGB comes from the components in levels: rows for red, green and blue, the
// luma of black and the middle of chroma (ITU-T H.273 §8.3).
func conversion(p *picture.Picture) (rows [3][3]float64, black, middle float64) {
	if p.Model == picture.RGB {
		return [3][3]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, 0, 0
	}
	black, luma, chroma := 16.0, 255.0/219, 255.0/224
	if p.FullRange {
		black, luma, chroma = 0, 1, 1
	}
	if p.Model == picture.Gray {
		return [3][3]float64{{luma}, {luma}, {luma}}, black, 0
	}
	red, blue := 0.299, 0.114
	switch p.Matrix {
	case picture.BT709:
		red, blue = 0.2126, 0.0722
	case picture.BT2020:
		red, blue = 0.2627, 0.0593
	}
	green := 1 - red - blue
	r, b := 2*(1-red)*chroma, 2*(1-blue)*chroma
	return [3][3]float64{{luma, 0, r}, {luma, -b * blue / green, -r * red / green}, {luma, b, 0}}, black, 128
}

// matrix returns what to multiply components in 1/64 of a level with, and what to add, for a result in
// 2^-19 of a level that is then cut off.
func matrix(p *picture.Picture) (m [3][4]int) {
	const one = 8192
	rows, black, middle := conversion(p)
	for i, row := range rows {
		for j, v := range row {
			m[i][j] = int(math.Round(v * one))
		}
		offset := row[0]*black + (row[1]+row[2])*middle
		m[i][3] = int(math.Round((0.5 - offset) * one * 64))
	}
	return m
}
