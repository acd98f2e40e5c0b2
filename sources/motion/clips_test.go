package motion_test

import (
	"context"
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

// pictures decodes a clip and calls see for each picture, in order.
func pictures(t testing.TB, clip string, see func(*picture.Picture)) {
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
	err = source.Receive(context.Background(), pipeline.Env{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, func(u *pipeline.Unit) {
		n++
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

func TestSurvey(t *testing.T) {
	for _, clip := range []string{"clips/one-by-one-person-detection.mp4", "clips/car-detection.mp4", "clips/bottle-detection.mp4"} {
		g := motion.New(sources.Motion{MinArea: 0.005, Threshold: 25})
		defer g.Close()
		n, moves := 0, 0
		var line []byte
		next := time.Duration(0)
		var took time.Duration
		pictures(t, clip, func(p *picture.Picture) {
			if p.PTS < next {
				return
			}
			next += 200 * time.Millisecond
			began := time.Now()
			m, err := g.Moves(p)
			took += time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			n++
			if m {
				moves++
				line = append(line, '#')
			} else {
				line = append(line, '.')
			}
			if n%50 == 0 {
				line = append(line, '\n')
			}
		})
		t.Logf("%s: %d of %d, %v each\n%s", clip, moves, n, took/time.Duration(n), line)
	}
}
