package picture_test

import (
	"bytes"
	"image"
	"image/color"
	"strings"
	"testing"

	"sightline/sources/picture"
)

func TestRGBAndImagesBecomePictures(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 7, 8, 9))
	rgb := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}
	for i := range 6 {
		img.SetNRGBA(5+i%3, 7+i/3, color.NRGBA{rgb[3*i], rgb[3*i+1], rgb[3*i+2], 128})
	}
	a, err := picture.FromRGB(rgb, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := picture.FromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if a.Components[i].Data[4*3] != rgb[4*3+i] || !bytes.Equal(a.Components[i].Data, b.Components[i].Data) {
			t.Errorf("component %d: %v and %v", i, a.Components[i], b.Components[i])
		}
	}
	for _, size := range [][2]int{{3, 3}, {0, 2}, {-1, 2}, {1 << 20, 1}} {
		if _, err := picture.FromRGB(rgb, size[0], size[1]); err == nil {
			t.Errorf("18 bytes make a picture of %v", size)
		}
	}
	if _, err := picture.FromRGB(nil, 1, 1); err == nil {
		t.Error("no bytes make a picture")
	}
	if _, err := picture.FromImage(image.NewGray(image.Rect(0, 0, 0, 0))); err == nil {
		t.Error("an empty image makes a picture")
	}
}

func TestPicturesThatLackSamplesAreRefused(t *testing.T) {
	good := func() *picture.Picture {
		p := &picture.Picture{Width: 5, Height: 3, Model: picture.YUV, SubX: 1, SubY: 1, Depth: 8}
		for i := range p.Components {
			w, h := p.Size(i)
			p.Components[i] = picture.Component{Data: make([]byte, w*h), Stride: w, Step: 1}
		}
		return p
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*picture.Picture)
		want   string
	}{
		{"no width", func(p *picture.Picture) { p.Width = 0 }, "0×3"},
		{"huge", func(p *picture.Picture) { p.Height = 1 << 16 }, "5×65536"},
		{"a chroma sample short", func(p *picture.Picture) { p.Components[1].Data = p.Components[1].Data[1:] }, "component 1"},
		{"two bytes a sample", func(p *picture.Picture) { p.Depth = 10 }, "component 0"},
		{"backwards", func(p *picture.Picture) { p.Components[2].Stride = -3 }, "component 2"},
		{"no step", func(p *picture.Picture) { p.Components[0].Step = 0 }, "component 0"},
		{"depth 17", func(p *picture.Picture) { p.Depth = 17 }, "depth 17"},
		{"shifted out", func(p *picture.Picture) { p.Depth, p.Shift = 12, 6 }, "shift 6"},
		{"unknown model", func(p *picture.Picture) { p.Model = 9 }, "model 9"},
	}
	for _, tt := range tests {
		p := good()
		tt.change(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %s", tt.name, err, tt.want)
		}
	}
}
