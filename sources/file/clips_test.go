package file

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/picture"
)

// clips are all video files of the test data, by their path below videos, with the packets and pictures
// that ffmpeg found in each; -1 where that is not known.
func clips(t testing.TB) (root string, packets, pictures map[string]int) {
	t.Helper()
	root = os.Getenv("SIGHTLINE_TESTDATA")
	if root == "" {
		t.Skip("SIGHTLINE_TESTDATA names no folder of clips")
	}
	root = filepath.Join(root, "videos")
	packets, pictures = map[string]int{}, map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case "", ".txt", ".tsv", ".json":
			return err
		}
		name, _ := filepath.Rel(root, path)
		packets[name], pictures[name] = -1, -1
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	probed, err := os.Open(filepath.Join(root, "PROBE.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer probed.Close()
	for lines := bufio.NewScanner(probed); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if _, there := packets[fields[0]]; there {
			packets[fields[0]], _ = strconv.Atoi(fields[7])
			pictures[fields[0]], _ = strconv.Atoi(fields[8])
		}
	}
	return root, packets, pictures
}

func quiet(t testing.TB) pipeline.Env {
	return pipeline.Env{Device: "device", Stage: "gate", Stats: pipeline.NewStats(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// shown decodes what a source gives as a capture stage does: lost is how many units were.
type shown struct {
	units, good, lost int
	decoder           *decode.Decoder
}

func (s *shown) take(t testing.TB) func(*pipeline.Unit) {
	count := func(p *picture.Picture) {
		if !p.Corrupt && !p.Partial && !p.Hidden {
			s.good++
		}
	}
	t.Cleanup(func() {
		if s.decoder != nil {
			s.decoder.Close()
		}
	})
	return func(u *pipeline.Unit) {
		s.units++
		if u == nil {
			s.decoder.Drain(count)
			return
		}
		if s.decoder == nil {
			var err error
			if s.decoder, err = decode.Open(decode.Options{Codec: u.Codec, Decoder: "software"}); err != nil {
				t.Fatal(err)
			}
		}
		if u.Lost > 0 {
			s.lost++
		}
		s.decoder.Decode(u, uint64(s.units), count)
	}
}

func TestEveryClipPlaysOrIsRefused(t *testing.T) {
	root, packets, pictures := clips(t)
	for name := range packets {
		t.Run(name, func(t *testing.T) {
			s := Source{Config: sources.File{Path: filepath.Join(root, name), Pace: sources.PaceFast}}
			var seen shown
			take := seen.take(t)
			err := s.Receive(context.Background(), quiet(t), take)
			units := seen.units
			if seen.decoder != nil {
				take(nil)
			}
			t.Logf("%v: %d units of %d, %d pictures of %d, %d lost", err, units, packets[name], seen.good, pictures[name], seen.lost)
		})
	}
}
