package decode

import (
	_ "embed"
	"fmt"

	"sightline/pipeline"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

// One keyframe of 256×256, in quarters of different brightness; go test -run Sample -update makes it.
var (
	//go:embed testdata/sample.h264
	sampleH264 []byte
	//go:embed testdata/sample.h265
	sampleH265 []byte
	//go:embed testdata/sample.jpeg
	sampleJPEG []byte
)

// sampleLuma is the brightness of the sample's quarters, rows from the top.
var sampleLuma = [4]int{40, 90, 150, 210}

// try decodes the sample and returns an error unless it comes out right, since much hardware is
// listed and does not work.
func (m method) try(codec pipeline.Codec) error {
	m.strict = true
	d := &Decoder{options: Options{Codec: codec, MaxPixels: defaultMaxPixels}, how: m, limit: limit{pixels: defaultMaxPixels}}
	if err := d.open(); err != nil {
		return err
	}
	defer d.Close()
	unit := pipeline.Unit{Codec: codec, Keyframe: true}
	switch codec {
	case pipeline.H264:
		unit.NALs = nal.Split(sampleH264, nil)
	case pipeline.H265:
		unit.NALs = nal.Split(sampleH265, nil)
	default:
		unit.NALs = [][]byte{sampleJPEG}
	}
	wrong := fmt.Errorf("%s gave no picture of a sample", m.name)
	take := func(p *picture.Picture) { wrong = checkSample(p) }
	if err := d.Decode(&unit, 1, take); err != nil {
		return err
	}
	if err := d.Drain(take); err != nil {
		return err
	}
	return wrong
}

func checkSample(p *picture.Picture) error {
	if err := p.Check(); err != nil {
		return err
	}
	if p.Width != 256 || p.Height != 256 || p.Depth != 8 || p.Model == picture.RGB {
		return fmt.Errorf("the sample came out as %d×%d of depth %d", p.Width, p.Height, p.Depth)
	}
	for i, want := range sampleLuma {
		c, x, y := &p.Components[0], 64+i%2*128, 64+i/2*128
		if found := int(c.Data[y*c.Stride+x*c.Step]); found < want-8 || found > want+8 {
			return fmt.Errorf("the sample's quarter %d has brightness %d instead of %d", i, found, want)
		}
	}
	return nil
}
