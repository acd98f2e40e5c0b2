package file

import (
	"bufio"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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

// shown decodes the first units of what a source gives, as a capture stage does.
type shown struct {
	most    int // units to decode
	units   int
	good    int // pictures that can be shown
	back    int // units that are due before the one before
	last    time.Time
	decoder *decode.Decoder
}

func (s *shown) count(p *picture.Picture) {
	if !p.Corrupt && !p.Partial && !p.Hidden {
		s.good++
	}
}

func (s *shown) take(t testing.TB) func(*pipeline.Unit) {
	t.Cleanup(func() {
		if s.decoder != nil {
			s.decoder.Close()
		}
	})
	return func(u *pipeline.Unit) {
		if s.units++; s.units > s.most {
			return
		}
		if u.Received.Before(s.last) {
			s.back++
		}
		s.last = u.Received
		if s.decoder == nil {
			var err error
			if s.decoder, err = decode.Open(decode.Options{Codec: u.Codec, Decoder: decode.Software}); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.decoder.Decode(u, uint64(s.units), s.count) // what cannot be decoded is missing in good
	}
}

func (s *shown) end() {
	if s.decoder != nil {
		_ = s.decoder.Drain(s.count)
	}
}

// refused are the clips in codecs that are not read.
var refused = map[string]string{
	"clips/bgslib_motorway_mpeg4asp.avi": "mpeg4",
	"clips/bgslib_traffic_msmpeg4v2.avi": "msmpeg4v2",
	"odd/media3_sample.avi":              "mpeg4",
	"odd/mediamtx_offline_av1.mp4":       "av1",
	"odd/mediamtx_offline_vp9.mp4":       "vp9",
}

// harmed are the clips that are damaged on purpose, or need pictures that are not in them: what is not good
// is not shown, so it is not counted here. The decoder has tests of its own for them.
var harmed = map[string]bool{
	"derived/car_bit_errors.h264":                                           true,
	"derived/car_packet_loss.h264":                                          true,
	"derived/car_intra_refresh_no_idr.h264":                                 true,
	"h264_conformance/Error_I_P.264":                                        true,
	"h264_conformance/BA_MW_D_IDR_LOST.264":                                 true,
	"h264_conformance/BA_MW_D_P_LOST.264":                                   true,
	"h264_conformance/Cisco_Men_whisper_640x320_CABAC_Bframe_9.264":         true,
	"h264_conformance/Cisco_Men_whisper_640x320_CAVLC_Bframe_9.264":         true,
	"h264_conformance/Cisco_Adobe_PDF_sample_a_1024x768_CAVLC_Bframe_9.264": true,
}

// unread are packets whose bytes are not all there, so that no unit is made of them.
var unread = map[string]int{"derived/car_truncated.mp4": 1}

const manyPackets = 200 // of longer clips only the beginning is decoded

func TestEveryClipPlaysOrIsRefused(t *testing.T) {
	root, packets, pictures := clips(t)
	for name := range packets {
		t.Run(name, func(t *testing.T) {
			s := Source{Config: sources.File{Path: filepath.Join(root, name), Pace: sources.PaceFast}}
			seen := shown{most: 60}
			if packets[name] <= manyPackets {
				seen.most = manyPackets
			}
			err := s.Receive(t.Context(), quiet(t), seen.take(t))
			if codec := refused[name]; codec != "" {
				if err == nil || !strings.Contains(err.Error(), "its video is "+codec+";") || !pipeline.IsPermanent(err) {
					t.Errorf("%v, want a refusal that names %s", err, codec)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			seen.end()
			if packets[name] < 0 {
				t.Skipf("it is not listed: %d units, %d pictures", seen.units, seen.good)
			}
			if want := packets[name] - unread[name]; seen.units != want {
				t.Errorf("%d units, want %d", seen.units, want)
			}
			if want := pictures[name]; seen.units <= seen.most && !harmed[name] && seen.good != want {
				t.Errorf("%d pictures, want %d", seen.good, want)
			}
			if seen.good == 0 || seen.back > 0 {
				t.Errorf("%d pictures, %d times that went back", seen.good, seen.back)
			}
		})
	}
}
