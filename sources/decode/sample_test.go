package decode

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"sightline/pipeline"
	"sightline/sources/encode"
)

var update = flag.Bool("update", false, "write the sample pictures anew")

// sample encodes the picture that try decodes.
func sample(t *testing.T, codec pipeline.Codec) []byte {
	t.Helper()
	e, err := encode.Open(encode.Options{Codec: codec, Width: 256, Height: 256, GOP: 1, Preset: "medium"})
	if err != nil {
		t.Skip("no encoder to make the sample with: ", err)
	}
	defer e.Close()
	i420 := bytes.Repeat([]byte{128}, e.Options().PictureSize())
	for i := range 256 * 256 {
		i420[i] = byte(sampleLuma[i/256/128*2+i%256/128])
	}
	var stream []byte
	take := func(nals [][]byte, _ bool, _ int64) error {
		for _, n := range nals {
			if codec != pipeline.MJPEG {
				stream = append(stream, 0, 0, 0, 1)
			}
			stream = append(stream, n...)
		}
		return nil
	}
	if err := e.Encode(i420, 0, take); err != nil {
		t.Fatal(err)
	}
	if err := e.Drain(take); err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestSamplesDecodeInSoftware(t *testing.T) {
	files := map[pipeline.Codec]string{pipeline.H264: "h264", pipeline.H265: "h265", pipeline.MJPEG: "jpeg"}
	for codec, name := range files {
		if *update {
			if err := os.WriteFile("testdata/sample."+name, sample(t, codec), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := methods(codec, Software)[0].try(codec); err != nil {
			t.Errorf("%s: %v", codec, err)
		}
	}
}
