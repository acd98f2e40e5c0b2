package encode_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/sources/encode"
)

type unit struct {
	nals [][]byte
	key  bool
	pts  int64
}

// movie encodes pictures of a square that moves over a gradient.
func movie(t *testing.T, o encode.Options, pictures int) []unit {
	t.Helper()
	e, err := encode.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	o = e.Options()
	var units []unit
	take := func(nals [][]byte, key bool, pts int64) error {
		u := unit{key: key, pts: pts}
		for _, n := range nals {
			u.nals = append(u.nals, bytes.Clone(n))
		}
		units = append(units, u)
		return nil
	}
	convert, err := encode.NewConverter(o)
	if err != nil {
		t.Fatal(err)
	}
	i420 := make([]byte, o.PictureSize())
	for i := range pictures {
		if err := convert.Convert(i420, picture(o.Width, o.Height, i)); err != nil {
			t.Fatal(err)
		}
		if err := e.Encode(i420, int64(i*encode.Clock/o.FPS), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Drain(take); err != nil {
		t.Fatal(err)
	}
	return units
}

func picture(width, height, n int) []byte {
	rgb := make([]byte, 0, width*height*3)
	for y := range height {
		for x := range width {
			p := [3]byte{byte(x * 255 / width), byte(y * 255 / height), 60}
			if at := n * 4 % width; x >= at && x < at+16 && y >= 8 && y < 24 {
				p = [3]byte{250, 240, 20}
			}
			rgb = append(rgb, p[:]...)
		}
	}
	return rgb
}

func TestEveryPictureComesOutWithItsTimeAndParameterSetsBeforeKeyframes(t *testing.T) {
	tests := []struct {
		name    string
		options encode.Options
		sets    []byte // types of the parameter sets
		kind    func(nal []byte) byte
	}{
		{"h264", encode.Options{Codec: pipeline.H264, GOP: 5}, []byte{7, 8}, h264Type},
		{"h264 with b-frames", encode.Options{Codec: pipeline.H264, GOP: 5, BFrames: 2}, []byte{7, 8}, h264Type},
		{"h264 keyframes only", encode.Options{Codec: pipeline.H264, GOP: 1}, []byte{7, 8}, h264Type},
		{"h265", encode.Options{Codec: pipeline.H265, GOP: 5}, []byte{32, 33, 34}, h265Type},
		{"h265 with b-frames", encode.Options{Codec: pipeline.H265, GOP: 5, BFrames: 2}, []byte{32, 33, 34}, h265Type},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Width, tt.options.Height, tt.options.BitRate = 128, 96, 500_000
			units := movie(t, tt.options, 20)
			if len(units) != 20 {
				t.Fatalf("%d pictures out of 20", len(units))
			}
			seen := map[int64]bool{}
			keys := 0
			for i, u := range units {
				seen[u.pts] = true
				if u.key {
					keys++
				}
				for _, set := range tt.sets {
					if has := contains(u.nals, tt.kind, set); has != u.key {
						t.Errorf("picture %d, keyframe %v: parameter set of type %d present: %v", i, u.key, set, has)
					}
				}
			}
			if want := (20 + tt.options.GOP - 1) / tt.options.GOP; keys != want {
				t.Errorf("%d keyframes, want %d", keys, want)
			}
			if len(seen) != 20 || !seen[0] || !seen[19*encode.Clock/25] {
				t.Errorf("times %v", seen)
			}
		})
	}
}

func contains(nals [][]byte, kind func([]byte) byte, want byte) bool {
	for _, n := range nals {
		if kind(n) == want {
			return true
		}
	}
	return false
}

func h264Type(nal []byte) byte { return nal[0] & 31 }
func h265Type(nal []byte) byte { return nal[0] >> 1 & 63 }

func TestMotionJPEGIsOneReadableJPEGAPicture(t *testing.T) {
	units := movie(t, encode.Options{Codec: pipeline.MJPEG, Width: 128, Height: 96}, 3)
	if len(units) != 3 {
		t.Fatalf("%d pictures out of 3", len(units))
	}
	for _, u := range units {
		if len(u.nals) != 1 || !u.key {
			t.Fatalf("%d parts, keyframe %v", len(u.nals), u.key)
		}
		img, err := jpeg.Decode(bytes.NewReader(u.nals[0]))
		if err != nil {
			t.Fatal(err)
		}
		r, g, b, _ := img.At(120, 90).RGBA()
		if near(r, 240) && near(g, 240) && near(b, 60) {
			continue
		}
		t.Errorf("pixel 120,90 is %d %d %d", r>>8, g>>8, b>>8)
	}
}

func near(v uint32, want int) bool { d := int(v>>8) - want; return d > -12 && d < 12 }

func TestWhatCannotBeEncodedIsRefusedWithTheReason(t *testing.T) {
	tests := []struct {
		options encode.Options
		want    string
	}{
		{encode.Options{Width: 127, Height: 96}, "127×96"},
		{encode.Options{Width: 16384, Height: 96}, "16384×96"},
		{encode.Options{Codec: "vp8", Width: 128, Height: 96}, `"vp8"`},
		{encode.Options{Width: 128, Height: 96, BFrames: -1}, "b-frames -1"},
		{encode.Options{Width: 128, Height: 96, Preset: "no-such-preset"}, "libx264"},
	}
	for _, tt := range tests {
		e, err := encode.Open(tt.options)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: encoder %v, %v; want an error about %s", tt.options, e, err, tt.want)
		}
	}
}

func TestPicturesOfTheWrongSizeAndClosedEncodersAreErrors(t *testing.T) {
	e, err := encode.Open(encode.Options{Width: 128, Height: 96})
	if err != nil {
		t.Fatal(err)
	}
	take := func([][]byte, bool, int64) error { return nil }
	if err := e.Encode(make([]byte, 7), 0, take); err == nil {
		t.Error("7 bytes are no picture, and yet no error")
	}
	stop := errors.New("enough")
	refuse := func([][]byte, bool, int64) error { return stop }
	if err := e.Encode(make([]byte, 128*96*3/2), 0, refuse); !errors.Is(err, stop) {
		t.Errorf("error of take not handed on: %v", err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := e.Encode(make([]byte, 128*96*3/2), 1, take); err == nil {
		t.Error("a closed encoder encodes")
	}
}
