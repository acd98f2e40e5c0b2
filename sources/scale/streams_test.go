package scale

import (
	"bytes"
	"os/exec"
	"testing"

	"sightline/pipeline"
	"sightline/sources/decode"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

// TestColoursOfAStreamAreThoseThatWereEncoded holds what comes out of the decoder and the scaler against
// the colours that went into the encoder: a wrong range is off by 16 levels, a wrong matrix by 20 and more.
func TestColoursOfAStreamAreThoseThatWereEncoded(t *testing.T) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("making the streams needs the ffmpeg program: ", err)
	}
	colours := [][3]byte{{255, 255, 255}, {0, 0, 0}, {200, 30, 40}, {30, 180, 60}, {40, 50, 210}, {128, 128, 128}}
	tests := []struct{ name, format, matrix, full, codec, size string }{
		{"bt601", "yuv420p", "smpte170m", "tv", "libx264", "64x64"},
		{"bt709", "yuv420p", "bt709", "tv", "libx264", "64x64"},
		{"full range", "yuvj420p", "smpte170m", "pc", "libx264", "64x64"},
		{"full range of bt709", "yuvj420p", "bt709", "pc", "libx264", "64x64"},
		{"4:2:2", "yuv422p", "smpte170m", "tv", "libx264", "64x64"},
		{"4:4:4", "yuv444p", "bt709", "tv", "libx264", "64x64"},
		{"10 bits", "yuv420p10le", "bt709", "tv", "libx264", "64x64"},
		{"cropped to an odd size", "yuv444p", "bt709", "tv", "libx264", "61x59"},
		{"h265", "yuv420p", "bt709", "tv", "libx265", "64x64"},
		{"h265, 10 bits", "yuv420p10le", "bt709", "tv", "libx265", "64x64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			codec, muxer := pipeline.H264, "h264"
			if tt.codec == "libx265" {
				codec, muxer = pipeline.H265, "hevc"
			}
			var rgb []byte // a picture of each colour
			for _, c := range colours {
				rgb = append(rgb, bytes.Repeat(c[:], 64*64)...)
			}
			stream, err := encodeRGB(program, rgb, "scale="+tt.size+":out_color_matrix="+tt.matrix+":out_range="+tt.full+",format="+tt.format,
				"-c:v", tt.codec, "-g", "1", "-bf", "0", "-colorspace", tt.matrix, "-color_range", tt.full, "-f", muxer, "-")
			if err != nil {
				t.Skip("the ffmpeg program makes no such stream: ", err)
			}
			checkColours(t, codec, stream, colours)
		})
	}
}

func checkColours(t *testing.T, codec pipeline.Codec, stream []byte, colours [][3]byte) {
	t.Helper()
	d, err := decode.Open(decode.Options{Codec: codec, Decoder: decode.Software})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var s Scaler
	defer s.Close()
	count := 0
	take := func(p *picture.Picture) {
		count++
		want := colours[p.Sequence-1]
		out := make([]byte, 8*8*3)
		if err := s.Scale(p, &pipeline.Wish{Width: 8, Height: 8, Color: pipeline.RGB}, pipeline.Whole, out); err != nil {
			t.Fatal(err)
		}
		for i, v := range out {
			if off := int(v) - int(want[i%3]); off < -4 || off > 4 {
				t.Fatalf("%v came out as %v: %s, full range %v, depth %d", want, out[i/3*3:i/3*3+3], p.Matrix, p.FullRange, p.Depth)
			}
		}
	}
	for i, nals := range nal.AccessUnits(codec, nal.Split(stream, nil)) {
		if err := d.Decode(&pipeline.Unit{Codec: codec, NALs: nals}, uint64(i+1), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Drain(take); err != nil {
		t.Fatal(err)
	}
	if count != len(colours) {
		t.Errorf("%d pictures of %d", count, len(colours))
	}
}

func encodeRGB(program string, rgb []byte, arguments ...string) ([]byte, error) {
	all := append([]string{"-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64", "-i", "-", "-threads", "1", "-vf"}, arguments...)
	c := exec.Command(program, all...)
	c.Stdin = bytes.NewReader(rgb)
	return c.Output()
}
