// Package scale brings decoded pictures to what a model wants to see: cropped, scaled with an
// antialiasing filter, as packed RGB or BGR. It never makes a full-size RGB picture: the components
// are scaled as they are, and only the small result is converted.
package scale

/*
#include "scale.h"
*/
import "C"

import (
	"fmt"

	"sightline/pipeline"
	"sightline/sources/picture"
)

const (
	maxSide   = 8192    // of a frame
	maxScaled = 1 << 16 // of the scaled picture that a frame is cut from
	maxPlans  = 64
)

// Scaler scales pictures, and remembers how for each kind of picture, wish and region. The zero value
// is ready. It is used from one goroutine at a time.
type Scaler struct {
	plans    map[key]*C.sl_plan
	portable bool // only instructions that every processor has; for tests
}

// Scale fills data, which has Width×Height×3 bytes of the wish, with one region of a picture: rows
// from the top, no padding between them. It keeps neither.
func (s *Scaler) Scale(p *picture.Picture, w *pipeline.Wish, r pipeline.Region, data []byte) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("scale: %w", err)
	}
	plan, err := s.plan(p, w, r)
	if err != nil {
		return fmt.Errorf("scale picture of %d×%d: %w", p.Width, p.Height, err)
	}
	if len(data) != w.Width*w.Height*3 {
		return fmt.Errorf("scale to %d×%d: room for %d bytes", w.Width, w.Height, len(data))
	}
	a, b, c := &p.Components[0], &p.Components[0], &p.Components[0]
	if p.Model != picture.Gray {
		b, c = &p.Components[1], &p.Components[2]
	}
	C.sl_scale(plan,
		(*C.uint8_t)(&a.Data[0]), C.ptrdiff_t(a.Stride),
		(*C.uint8_t)(&b.Data[0]), C.ptrdiff_t(b.Stride),
		(*C.uint8_t)(&c.Data[0]), C.ptrdiff_t(c.Stride), (*C.uint8_t)(&data[0]))
	return nil
}

func (s *Scaler) plan(p *picture.Picture, w *pipeline.Wish, r pipeline.Region) (*C.sl_plan, error) {
	k := keyOf(p, w, r)
	if plan, ok := s.plans[k]; ok {
		return plan, nil
	}
	if len(s.plans) >= maxPlans {
		s.Close()
	}
	plan, err := newPlan(p, w, r, s.portable)
	if err != nil {
		return nil, err
	}
	if s.plans == nil {
		s.plans = make(map[key]*C.sl_plan)
	}
	s.plans[k] = plan
	return plan, nil
}

// Close frees what the scaler remembers; it can be used again.
func (s *Scaler) Close() {
	for _, plan := range s.plans {
		C.sl_plan_close(plan)
	}
	clear(s.plans)
}
