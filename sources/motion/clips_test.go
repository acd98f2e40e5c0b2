package motion_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/file"
	"sightline/sources/motion"
	"sightline/sources/picture"
)

// pictures decodes a clip up to a time and calls see for each picture, in order.
func pictures(t testing.TB, clip string, until time.Duration, see func(*picture.Picture)) {
	t.Helper()
	root := os.Getenv("SIGHTLINE_TESTDATA")
	if root == "" {
		t.Skip("SIGHTLINE_TESTDATA names no folder of clips")
	}
	source := file.Source{Config: sources.File{Path: filepath.Join(root, "videos", clip), Pace: sources.PaceFast}}
	d, err := decode.Open(decode.Options{Codec: pipeline.H264, Decoder: decode.Software})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n := uint64(0)
	err = source.Receive(t.Context(), pipeline.Env{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, func(u *pipeline.Unit) {
		if n++; u.PTS > until {
			return
		}
		if err := d.Decode(u, n, see); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Drain(see); err != nil {
		t.Error(err)
	}
}

// What people see in the clips: from and to are seconds in which all that can be told is whether
// something moves.
var stretches = []struct {
	clip     string
	from, to float64
	moves    bool
}{
	{"clips/one-by-one-person-detection.mp4", 1, 6, false},       // an empty corridor
	{"clips/one-by-one-person-detection.mp4", 6.8, 15, true},     // somebody comes
	{"clips/one-by-one-person-detection.mp4", 20.6, 22.6, false}, // empty again
	{"clips/one-by-one-person-detection.mp4", 33, 39, false},     // and here
	{"clips/car-detection.mp4", 0.6, 4, false},                   // an empty road
	{"clips/car-detection.mp4", 4.8, 8.6, true},                  // a car
	{"clips/car-detection.mp4", 9.6, 14, false},                  // none
	{"clips/bottle-detection.mp4", 0.6, 5.6, false},              // a table
	{"clips/bottle-detection.mp4", 6.4, 9.4, true},               // a hand
}

func TestTheGateSeesWhatPeopleSee(t *testing.T) {
	through := map[string]map[bool][]float64{} // of each clip, the times of pictures that went through or not
	for _, s := range stretches {
		if through[s.clip] != nil {
			continue
		}
		through[s.clip] = map[bool][]float64{}
		g := motion.New(sources.Motion{MinArea: 0.005, Threshold: 25})
		defer g.Close()
		next := time.Duration(0)
		pictures(t, s.clip, 40*time.Second, func(p *picture.Picture) {
			if p.PTS < next {
				return
			}
			next = p.PTS + 150*time.Millisecond
			m, err := g.Moves(p)
			if err != nil {
				t.Fatal(err)
			}
			through[s.clip][m] = append(through[s.clip][m], p.PTS.Seconds())
		})
	}
	for _, s := range stretches {
		right, wrong := within(through[s.clip][s.moves], s.from, s.to), within(through[s.clip][!s.moves], s.from, s.to)
		t.Logf("%s, %g s to %g s: %d of %d right", s.clip, s.from, s.to, right, right+wrong)
		most := 0.03 // of an empty place; what moves may stand still
		if s.moves {
			most = 0.15
		}
		if right == 0 || float64(wrong) > most*float64(right+wrong) {
			t.Errorf("%s, %g s to %g s: %d pictures of %d are taken for the wrong thing", s.clip, s.from, s.to, wrong, right+wrong)
		}
	}
}

func within(times []float64, from, to float64) (n int) {
	for _, t := range times {
		if t >= from && t < to {
			n++
		}
	}
	return n
}

func BenchmarkGate1080p(b *testing.B) {
	const width, height = 1920, 1080
	p := &picture.Picture{Width: width, Height: height, Model: picture.YUV, Matrix: picture.BT709, SubX: 1, SubY: 1, Depth: 8}
	data := make([]byte, width*height)
	for i := range data {
		data[i] = byte(i*7 + i/width)
	}
	p.Components[0] = picture.Component{Data: data, Stride: width, Step: 1}
	for i := 1; i < 3; i++ {
		p.Components[i] = picture.Component{Data: data[:width*height/4], Stride: width / 2, Step: 1}
	}
	g := motion.New(sources.Motion{MinArea: 0.005, Threshold: 25})
	defer g.Close()
	for b.Loop() {
		p.PTS += 200 * time.Millisecond
		if _, err := g.Moves(p); err != nil {
			b.Fatal(err)
		}
	}
}
