package habits

import (
	"embed"
	"fmt"
	"maps"
	"slices"

	"sightline/pipeline"
	"sightline/sources/nal"
)

// The clips are 10 pictures each, 64×48 or (large) 96×64, the first a keyframe, made with
// ffmpeg -f lavfi -i testsrc.
//
//go:embed clips
var files embed.FS

func clips() map[string]source {
	return map[string]source{
		"base":    {"base.h264", pipeline.H264, nil},
		"large":   {"large.h264", pipeline.H264, nil},
		"bframes": {"bframes.h264", pipeline.H264, []int64{0, 1, -1, 1, -1, 1, -1, 1, -1, 0}},
		"h265":    {"base.h265", pipeline.H265, nil},
	}
}

// Clips names the clips.
func Clips() []string { return slices.Sorted(maps.Keys(clips())) }

// source is a clip as it lies in a file.
type source struct {
	file   string
	codec  pipeline.Codec
	shifts []int64 // pictures that each one is shown later than its place; nil: none
}

// clip is a clip as it is sent.
type clip struct {
	codec    pipeline.Codec
	sets     [][]byte   // parameter sets
	pictures [][][]byte // NAL units, without parameter sets
	shifts   []int64
}

func (m *Media) clip() string {
	if m.Clip == "" {
		return "base"
	}
	return m.Clip
}

func readClip(name string) (*clip, error) {
	s, ok := clips()[name]
	if !ok {
		return nil, fmt.Errorf("there is no clip %q", name)
	}
	stream, err := files.ReadFile("clips/" + s.file)
	if err != nil {
		return nil, err
	}
	c := &clip{codec: s.codec, shifts: s.shifts}
	for _, unit := range nal.AccessUnits(s.codec, nal.Split(stream, nil)) {
		var slices [][]byte
		for _, n := range unit {
			if isSet(s.codec, n) {
				c.sets = append(c.sets, n)
			} else {
				slices = append(slices, n)
			}
		}
		c.pictures = append(c.pictures, slices)
	}
	return c, nil
}

func isSet(codec pipeline.Codec, n []byte) bool {
	if codec == pipeline.H265 {
		kind := n[0] >> 1 & 63
		return kind >= 32 && kind <= 34
	}
	kind := n[0] & 31
	return kind == 7 || kind == 8
}

func (c *clip) shift(n int) int64 {
	if c.shifts == nil {
		return 0
	}
	return c.shifts[n]
}
