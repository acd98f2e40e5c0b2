package decode_test

import (
	"crypto/sha1"
	"encoding/hex"
	"hash"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/decode"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

func open(t testing.TB, o decode.Options) *decode.Decoder {
	t.Helper()
	if o.Decoder == "" {
		o.Decoder = decode.Software
	}
	d, err := decode.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func units(codec pipeline.Codec, stream []byte) []*pipeline.Unit {
	var all []*pipeline.Unit
	for _, nals := range nal.AccessUnits(codec, nal.Split(stream, nil)) {
		u := &pipeline.Unit{Codec: codec, NALs: nals}
		u.Keyframe = nal.Keyframe(u)
		all = append(all, u)
	}
	return all
}

// write adds the samples of a picture of 8 bits to a hash, plane after plane.
func write(h hash.Hash, p *picture.Picture) {
	for i := range p.Count() {
		c := &p.Components[i]
		width, height := p.Size(i)
		for y := range height {
			h.Write(c.Data[y*c.Stride : y*c.Stride+width])
		}
	}
}

func TestConformanceStreamsDecodeBitExactly(t *testing.T) {
	folder := filepath.Join(pipelinetest.TestData(t), "videos", "h264_conformance")
	list, err := os.ReadFile(filepath.Join(folder, "EXPECTED_YUV420P_SHA1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for line := range strings.Lines(string(list)) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		stream, err := os.ReadFile(filepath.Join(folder, name))
		if os.IsNotExist(err) {
			continue // listed, but not kept
		}
		if err != nil {
			t.Fatal(err)
		}
		done++
		t.Run(name, func(t *testing.T) {
			d, h, count := open(t, decode.Options{Codec: pipeline.H264}), sha1.New(), 0
			take := func(p *picture.Picture) {
				count++
				write(h, p)
				if p.Corrupt || p.Partial {
					t.Errorf("picture %d of unit %d is said to be corrupt", count, p.Sequence)
				}
			}
			all := units(pipeline.H264, stream)
			for i, u := range all {
				if err := d.Decode(u, uint64(i+1), take); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Drain(take); err != nil {
				t.Fatal(err)
			}
			if missing := d.Missing(); count+missing != len(all) {
				t.Errorf("%d units gave %d pictures, and %d none", len(all), count, missing)
			}
			if found := hex.EncodeToString(h.Sum(nil)); found != want {
				t.Errorf("SHA-1 of %d pictures is %s, want %s", count, found, want)
			}
		})
	}
	if done < 10 {
		t.Errorf("only %d streams were there", done)
	}
}
