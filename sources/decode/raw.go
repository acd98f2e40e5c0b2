package decode

import (
	"fmt"

	"sightline/pipeline"
	"sightline/sources/picture"
)

// asItIs is the method of pictures that come decoded.
const asItIs = "as it is"

// raw hands a picture over that is not encoded.
func (d *Decoder) raw(unit *pipeline.Unit, sequence uint64, take func(*picture.Picture)) error {
	tag := d.pending.add(unit, sequence)
	p := &d.picture
	if !d.pending.answer(tag, p) {
		return nil
	}
	var data []byte
	if len(unit.NALs) == 1 {
		data = unit.NALs[0]
	}
	p.Width, p.Height, p.Model, p.Matrix, p.Depth, p.SubX, p.Key = unit.Width, unit.Height, picture.YUV, picture.BT601, 8, 1, true
	for i, place := range [3]struct{ at, step int }{{0, 2}, {1, 4}, {3, 4}} {
		p.Components[i] = picture.Component{Data: data[min(place.at, len(data)):], Stride: unit.Stride, Step: place.step}
	}
	if err := p.Check(); err != nil {
		return fmt.Errorf("%s unit %d: %w", unit.Codec, sequence, err)
	}
	if int64(p.Width)*int64(p.Height) > d.options.MaxPixels {
		return fmt.Errorf("%s unit %d: %d×%d pixels, more than %d", unit.Codec, sequence, p.Width, p.Height, d.options.MaxPixels)
	}
	take(p)
	return nil
}
