package decode_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/decode"
	"sightline/sources/encode"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

// encoded returns a made stream; its units carry times that tell them apart.
func encoded(t testing.TB, o encode.Options, pictures int) []*pipeline.Unit {
	t.Helper()
	e, err := encode.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var all []*pipeline.Unit
	take := func(nals [][]byte, key bool, pts int64) error {
		u := &pipeline.Unit{Codec: e.Options().Codec, Keyframe: key, PTS: time.Duration(pts), Origin: pipeline.OriginArrival}
		u.Captured, u.Received = time.Unix(pts, 0), time.Unix(pts, 5)
		for _, n := range nals {
			u.NALs = append(u.NALs, bytes.Clone(n))
		}
		all = append(all, u)
		return nil
	}
	i420, random := make([]byte, e.Options().PictureSize()), rand.New(rand.NewPCG(1, 2))
	for i := range pictures {
		for j := range i420 {
			i420[j] = byte(j/7+i*3) + byte(random.IntN(8))
		}
		if err := e.Encode(i420, int64(i), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Drain(take); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPicturesCarryTheTimesOfTheirUnitsInDisplayOrder(t *testing.T) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265} {
		for _, bframes := range []int{0, 3} {
			all := encoded(t, encode.Options{Codec: codec, Width: 64, Height: 64, BFrames: bframes}, 50)
			d := open(t, decode.Options{Codec: codec})
			var shown []time.Duration
			for i, u := range all {
				err := d.Decode(u, uint64(i+1), func(p *picture.Picture) {
					shown = append(shown, p.PTS)
					from := all[p.Sequence-1]
					if p.PTS != from.PTS || p.Captured != from.Captured || p.Received != from.Received || p.Origin != from.Origin {
						t.Errorf("%s: picture %+v is not of unit %+v", codec, p, from)
					}
					if p.Key != from.Keyframe {
						t.Errorf("%s: picture %d: keyframe %v, unit %v", codec, p.Sequence, p.Key, from.Keyframe)
					}
					if bframes == 0 && p.Sequence != uint64(i+1) {
						t.Errorf("%s: unit %d gave picture %d: held back without need", codec, i+1, p.Sequence)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Drain(func(p *picture.Picture) { shown = append(shown, p.PTS) }); err != nil {
				t.Fatal(err)
			}
			if len(shown) != 50 || !slices.IsSorted(shown) {
				t.Errorf("%s, %d b-frames: times %v", codec, bframes, shown)
			}
		}
	}
}

func TestOddStreamsDecode(t *testing.T) {
	data := pipelinetest.TestData(t)
	tests := []struct {
		file          string
		codec         pipeline.Codec
		pictures      int
		width, height int
		sub           [2]uint8
	}{
		{"derived/car_hevc_main_10s.mp4", pipeline.H265, 125, 768, 432, [2]uint8{1, 1}},
		{"odd/mediamtx_offline_h265.mp4", pipeline.H265, 30, 1920, 1080, [2]uint8{1, 1}},
		{"odd/media3_iibbibb_editlist_videoonly.mp4", pipeline.H264, 0, 704, 576, [2]uint8{0, 0}},
		{"derived/person_interlaced_mbaff_768x576i25.h264", pipeline.H264, 150, 768, 576, [2]uint8{1, 1}},
		{"derived/car_baseline_4slices_aud.h264", pipeline.H264, 100, 768, 432, [2]uint8{1, 1}},
		{"derived/car_open_gop_bpyramid.h264", pipeline.H264, 100, 768, 432, [2]uint8{1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			stream := elementary(t, filepath.Join(data, "videos", tt.file), tt.codec)
			d, count := open(t, decode.Options{Codec: tt.codec}), 0
			take := func(p *picture.Picture) {
				count++
				if err := p.Check(); err != nil {
					t.Fatal(err)
				}
				if p.Width != tt.width || p.Height != tt.height || [2]uint8{p.SubX, p.SubY} != tt.sub {
					t.Fatalf("picture of %d×%d, subsampling %d,%d", p.Width, p.Height, p.SubX, p.SubY)
				}
			}
			for i, u := range units(tt.codec, stream) {
				if err := d.Decode(u, uint64(i+1), take); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Drain(take); err != nil {
				t.Fatal(err)
			}
			if tt.pictures != 0 && count != tt.pictures || count == 0 {
				t.Errorf("%d pictures, want %d", count, tt.pictures)
			}
		})
	}
}

// elementary returns a file's video as a byte stream.
func elementary(t *testing.T, file string, codec pipeline.Codec) []byte {
	t.Helper()
	if strings.HasSuffix(file, ".mp4") {
		format := map[pipeline.Codec]string{pipeline.H264: "h264", pipeline.H265: "hevc"}[codec]
		program, err := exec.LookPath("ffmpeg")
		if err != nil {
			t.Skip("unpacking needs the ffmpeg program: ", err)
		}
		out := filepath.Join(t.TempDir(), "stream")
		unpack := exec.Command(program, "-v", "error", "-i", file, "-map", "0:v:0", "-c", "copy", "-f", format, out)
		if text, err := unpack.CombinedOutput(); err != nil {
			t.Fatalf("unpack %s: %v: %s", file, err, text)
		}
		file = out
	}
	stream, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestMotionJPEGDecodesInFullRange(t *testing.T) {
	all := encoded(t, encode.Options{Codec: pipeline.MJPEG, Width: 320, Height: 240}, 5)
	d, count := open(t, decode.Options{Codec: pipeline.MJPEG}), 0
	for i, u := range all {
		err := d.Decode(u, uint64(i+1), func(p *picture.Picture) {
			count++
			if !p.FullRange || p.Matrix != picture.BT601 || !p.Key || p.Sequence != uint64(i+1) {
				t.Errorf("picture %+v", p)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if count != 5 {
		t.Errorf("%d pictures of 5", count)
	}
}

func TestTheColourMatrixIsWhatTheStreamSaysOrThatOfItsSize(t *testing.T) {
	for height, want := range map[int]picture.Matrix{480: picture.BT601, 720: picture.BT709} {
		all := encoded(t, encode.Options{Width: 64, Height: height}, 1)
		for _, said := range []bool{true, false} {
			if !said {
				all = dropVUI(t, height)
			}
			d := open(t, decode.Options{Codec: pipeline.H264})
			if err := d.Decode(all[0], 1, func(p *picture.Picture) {
				if p.Matrix != want || p.FullRange {
					t.Errorf("%d lines, said %v: %s, full range %v", height, said, p.Matrix, p.FullRange)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// dropVUI returns a stream that says nothing of its colours.
func dropVUI(t *testing.T, height int) []*pipeline.Unit {
	t.Helper()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("making the stream needs the ffmpeg program: ", err)
	}
	size := "color=gray:s=64x" + map[int]string{480: "480", 720: "720"}[height]
	stream, err := exec.Command(program, "-v", "error", "-f", "lavfi", "-i", size, "-frames:v", "1", "-c:v", "libx264", "-f", "h264", "-").Output()
	if err != nil {
		t.Skip("the ffmpeg program makes no stream: ", err)
	}
	return units(pipeline.H264, stream)
}

func TestTheSizeMayChangeInTheStream(t *testing.T) {
	small := encoded(t, encode.Options{Width: 64, Height: 48}, 5)
	large := encoded(t, encode.Options{Width: 320, Height: 240}, 5)
	d := open(t, decode.Options{Codec: pipeline.H264})
	var widths []int
	for i, u := range slices.Concat(small, large, small) {
		if err := d.Decode(u, uint64(i+1), func(p *picture.Picture) { widths = append(widths, p.Width) }); err != nil {
			t.Fatal(err)
		}
	}
	want := []int{64, 64, 64, 64, 64, 320, 320, 320, 320, 320, 64, 64, 64, 64, 64}
	if !slices.Equal(widths, want) {
		t.Errorf("widths %v, want %v", widths, want)
	}
}

func TestPicturesAboveTheLimitAreRefused(t *testing.T) {
	all := encoded(t, encode.Options{Width: 320, Height: 240}, 2)
	d := open(t, decode.Options{Codec: pipeline.H264, MaxPixels: 320*240 - 1})
	for i, u := range all {
		err := d.Decode(u, uint64(i+1), func(p *picture.Picture) { t.Errorf("a picture of %d×%d came out", p.Width, p.Height) })
		if i == 0 && !errors.Is(err, decode.ErrTooLarge) {
			t.Errorf("unit %d: %v", i+1, err)
		}
	}
}

func TestTheRestDecodesWholeWithoutNonReferencePictures(t *testing.T) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265} {
		all := encoded(t, encode.Options{Codec: codec, Width: 64, Height: 64, BFrames: 2}, 30)
		var inspector nal.Inspector
		d, count, left := open(t, decode.Options{Codec: codec}), 0, 0
		take := func(p *picture.Picture) {
			if count++; p.Corrupt {
				t.Errorf("%s: a picture is damaged", codec)
			}
		}
		for i, u := range all {
			if inspector.NonReference(u) {
				left++
				continue
			}
			if err := d.Decode(u, uint64(i+1), take); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Drain(take); err != nil {
			t.Fatal(err)
		}
		if left == 0 || count != 30-left {
			t.Errorf("%s: %d pictures of 30, of which %d are non-reference", codec, count, left)
		}
	}
}

func TestUnknownAndAbsentDecodersAreErrorsThatSayWhatThereIs(t *testing.T) {
	tests := []struct {
		options decode.Options
		want    string
	}{
		{decode.Options{Codec: "vp9"}, `codec "vp9"`},
		{decode.Options{Codec: pipeline.H264, Decoder: "magic"}, `decoder "magic": unknown`},
	}
	for _, a := range decode.Available() {
		if a.Err != nil {
			t.Logf("%s %s: %v", a.Codec, a.Decoder, a.Err)
			tests = append(tests, struct {
				options decode.Options
				want    string
			}{decode.Options{Codec: a.Codec, Decoder: a.Decoder}, "there is "})
		}
	}
	for _, tt := range tests {
		d, err := decode.Open(tt.options)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: decoder %v, error %v, want one about %s", tt.options, d, err, tt.want)
		}
	}
}

func TestAutoTakesWhatWorksAndSaysWhat(t *testing.T) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265, pipeline.MJPEG} {
		d := open(t, decode.Options{Codec: codec, Decoder: decode.Auto})
		if name := d.Name(); !strings.HasPrefix(name, string(codec)+" (") || !strings.Contains(name, decode.Version()) {
			t.Errorf("name %q", name)
		}
	}
}

func TestUnitsWithoutSenseAreErrors(t *testing.T) {
	d := open(t, decode.Options{Codec: pipeline.H264})
	take := func(*picture.Picture) { t.Error("a picture came out") }
	if err := d.Decode(&pipeline.Unit{}, 1, take); err == nil {
		t.Error("an empty unit is no error")
	}
	if err := d.Decode(&pipeline.Unit{NALs: [][]byte{{0x65, 1, 2, 3, 4}}}, 2, take); err == nil {
		t.Error("a slice without parameter sets is no error")
	}
	if err := errors.Join(d.Close(), d.Close(), d.Reset(), d.Drain(take)); err != nil {
		t.Error(err)
	}
	if err := d.Decode(&pipeline.Unit{NALs: [][]byte{{0x65}}}, 3, take); err == nil {
		t.Error("a closed decoder decodes")
	}
}
