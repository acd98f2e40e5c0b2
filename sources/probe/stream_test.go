package probe

import (
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/sources/encode"
	"sightline/sources/nal"
)

func FuzzDescribe(f *testing.F) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265} {
		e, err := encode.Open(encode.Options{Codec: codec, Width: 64, Height: 64})
		if err != nil {
			f.Logf("no %s among the seeds: %v", codec, err)
			continue
		}
		keep := func(nals [][]byte, _ bool, _ int64) error {
			for _, n := range nals {
				f.Add(string(codec), append([]byte{0, 0, 1}, n[:min(len(n), 128)]...))
			}
			return nil
		}
		for i := range int64(40) {
			if err := e.Encode(make([]byte, 64*64*3/2), i*3600, keep); err != nil {
				f.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			f.Fatal(err)
		}
	}
	f.Add("h264", []byte("\x00\x00\x01\x67\xf4\x00\x0d\x91\x9b\x28\x28\x3f\x60\x22"))
	f.Add("mjpeg", []byte("\xff\xd8"))
	f.Fuzz(func(t *testing.T, codec string, data []byte) {
		s, _ := describe(pipeline.Codec(codec), append(nal.Split(data, nil), data))
		if s.fps < 0 || s.fps > 1000 || s.depth < 0 || s.depth > 16 {
			t.Errorf("%+v", s)
		}
	})
}

func TestEachTroubleIsWarnedOf(t *testing.T) {
	second := 1.0
	clean := func() *Report {
		return &Report{
			Transport: "udp", Measured: 5, Decoder: Decoder{Software: true, Pictures: 12},
			Clock: Clock{Source: "rtcp-sr", Reports: 3, Offset: new(float64)},
			Video: Video{Codec: "h264", Width: 1280, Height: 720, Chroma: "4:2:0", Depth: 8, FPS: 25, DeclaredFPS: 25, Pace: 1, Pictures: 125, Keyframes: 3,
				GOP: &GOP{Pictures: 50, Fewest: 50, Most: 50, Shortest: 2, Longest: 2}},
		}
	}
	if w := warn(clean()); len(w) != 0 {
		t.Errorf("a good camera: %+v", w)
	}
	for code, spoil := range map[string]func(*Report){
		WarnUndecoded:  func(r *Report) { r.Undecoded = "x" },
		WarnEnded:      func(r *Report) { r.Ended = "x" },
		WarnLoss:       func(r *Report) { r.Packets = Packets{Received: 999, Lost: 1} },
		WarnDamaged:    func(r *Report) { r.Decoder.Damaged = 1 },
		WarnNoReports:  func(r *Report) { r.Clock = Clock{Source: "arrival"} },
		WarnClock:      func(r *Report) { second = -7200; r.Clock.Offset = &second },
		WarnPace:       func(r *Report) { r.Video.Pace = 1.5 },
		WarnGOP:        func(r *Report) { r.Video.GOP.Longest = 10 },
		WarnRate:       func(r *Report) { r.Video.FPS = 12 },
		WarnInterlaced: func(r *Report) { r.Video.Interlaced = true },
		WarnFormat:     func(r *Report) { r.Video.Depth = 10 },
		WarnH265:       func(r *Report) { r.Video.Codec = "h265" },
		WarnLarge:      func(r *Report) { r.Video.Width, r.Video.Height = 3840, 2160 },
		WarnUDP:        func(r *Report) { r.UDPRefused = "x" },
		WarnBasic:      func(r *Report) { r.Authentication = "basic" },
		WarnInBand:     func(r *Report) { r.Video.InBandOnly = true },
		WarnBFrames:    func(r *Report) { r.Video.BFrames = 2 },
	} {
		r := clean()
		spoil(r)
		if w := warn(r); len(w) != 1 || w[0].Code != code || strings.Contains(w[0].Text, "%!") {
			t.Errorf("%s: %+v", code, w)
		}
	}
	for _, spoil := range []func(*Report){
		func(r *Report) { r.Video.Keyframes, r.Video.GOP = 0, nil },
		func(r *Report) { r.Video.Keyframes, r.Video.GOP = 1, nil },
		func(r *Report) { r.Clock = Clock{Source: "arrival", Timeless: 2} },
	} {
		r := clean()
		spoil(r)
		if w := warn(r); len(w) != 1 {
			t.Errorf("%+v", w)
		}
	}
}
