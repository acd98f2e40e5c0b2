package decode_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/sources/decode"
	"sightline/sources/encode"
	"sightline/sources/picture"
)

// bitWriter makes parameter sets.
type bitWriter struct {
	bytes []byte
	count int
}

func (w *bitWriter) bit(v uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.count%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.count/8] |= byte(v>>i&1) << (7 - w.count%8)
		w.count++
	}
}

func (w *bitWriter) golomb(values ...uint64) {
	for _, v := range values {
		n := 0
		for (v+1)>>(n+1) != 0 {
			n++
		}
		w.bit(0, n)
		w.bit(v+1, n+1)
	}
}

// end adds the stop bit, and the bytes that keep start codes away.
func (w *bitWriter) end() []byte {
	w.bit(1, 1)
	var out []byte
	zeros := 0
	for _, b := range w.bytes {
		if zeros >= 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		if zeros++; b != 0 {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}

// setH264 is a sequence parameter set of H.264 (§7.3.2.1.1) for pictures of across by down macroblocks.
func setH264(across, down, kept uint64) []byte {
	w := bitWriter{}
	w.bit(0x67, 8)
	w.bit(66, 8) // profile_idc
	w.bit(0, 8)
	w.bit(62, 8)               // level_idc
	w.golomb(0, 0, 2)          // seq_parameter_set_id, log2_max_frame_num_minus4, pic_order_cnt_type
	w.golomb(kept)             // max_num_ref_frames
	w.bit(0, 1)                // gaps_in_frame_num_value_allowed_flag
	w.golomb(across-1, down-1) // in macroblocks
	w.bit(0b1100, 4)           // frame_mbs_only, direct_8x8_inference, no cropping, no VUI
	return w.end()
}

// setH265 is a sequence parameter set of H.265 (§7.3.2.2).
func setH265(width, height, kept uint64) []byte {
	w := bitWriter{}
	w.bit(0x4201, 16)
	w.bit(0b00000001, 8) // sps_video_parameter_set_id, one sub-layer, nesting
	w.bit(0b00000001, 8) // profile_tier_level: Main
	w.bit(0x60000000, 32)
	w.bit(0, 48)
	w.bit(186, 8)  // level 6.2
	w.golomb(0, 1) // sps_seq_parameter_set_id, 4:2:0
	w.golomb(width, height)
	w.bit(0, 1)       // no conformance window
	w.golomb(0, 0, 4) // bit depths, log2_max_pic_order_cnt_lsb_minus4
	w.bit(1, 1)
	w.golomb(kept-1, 0, 0)     // sps_max_dec_pic_buffering_minus1, reordering, latency
	w.golomb(0, 3, 0, 3, 0, 0) // block sizes and depths
	w.bit(0b0000, 4)           // no scaling lists, AMP, SAO, PCM
	w.golomb(0)                // short-term reference picture sets
	w.bit(0b00000, 5)          // no long-term ones, temporal MVP, smoothing, VUI, extension
	return w.end()
}

// giantJPEG is a JPEG of little data that says to be of another size.
func giantJPEG(t *testing.T, width, height int) *pipeline.Unit {
	u := encoded(t, encode.Options{Codec: pipeline.MJPEG, Width: 64, Height: 48}, 1)[0]
	at := bytes.Index(u.NALs[0], []byte{0xff, 0xc0})
	copy(u.NALs[0][at+5:], []byte{byte(height >> 8), byte(height), byte(width >> 8), byte(width)})
	return u
}

// replaced returns a keyframe with another sequence parameter set.
func replaced(u *pipeline.Unit, set []byte) *pipeline.Unit {
	c := *u
	c.NALs = slices.Clone(u.NALs)
	for i, n := range c.NALs {
		if n[0] == set[0] && n[0]&0x1f == set[0]&0x1f {
			c.NALs[i] = set
		}
	}
	return &c
}

func TestGiantPicturesAreRefusedByNameBeforeMemoryIsTaken(t *testing.T) {
	h264 := encoded(t, encode.Options{Width: 64, Height: 48}, 2)
	h265 := encoded(t, encode.Options{Codec: pipeline.H265, Width: 64, Height: 48}, 2)
	jpeg := encoded(t, encode.Options{Codec: pipeline.MJPEG, Width: 64, Height: 48}, 2)
	tests := []struct {
		name  string
		good  []*pipeline.Unit
		giant *pipeline.Unit
		want  string // nothing: refused, in whatever words
	}{
		{"h264 16k×16k", h264, replaced(h264[0], setH264(1024, 1024, 1)), "16384×16384"},
		{"h264 beyond all numbers", h264, replaced(h264[0], setH264(1<<31, 1<<31, 1)), ""},
		{"h264 a line", h264, replaced(h264[0], setH264(1<<20, 1, 1)), ""},
		{"h264 16 pictures of 8192×4352 to keep", h264, replaced(h264[0], setH264(512, 272, 16)), "16 pictures of 8192×4352"},
		{"h265 16k×16k", h265, replaced(h265[0], setH265(16384, 16384, 1)), "16384×16384"},
		{"h265 16 pictures of 8192×4352 to keep", h265, replaced(h265[0], setH265(8192, 4352, 16)), "16 pictures of 8192×4352"},
		{"jpeg 65535×65535", jpeg, giantJPEG(t, 65535, 65535), "65535×65535"},
		{"jpeg 16k×16k", jpeg, giantJPEG(t, 16384, 16384), "16384×16384"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, count := open(t, decode.Options{Codec: tt.good[0].Codec}), 0
			take := func(p *picture.Picture) {
				if count++; p.Width != 64 || p.Height != 48 {
					t.Errorf("a picture of %d×%d came out", p.Width, p.Height)
				}
			}
			play := func(u *pipeline.Unit) error { return d.Decode(u, uint64(count+1), take) }
			if err := play(tt.good[0]); err != nil {
				t.Fatal(err)
			}
			before := resident(t)
			err := play(tt.giant)
			if grown := resident(t) - before; grown > 64<<20 {
				t.Errorf("%d bytes were taken for it", grown)
			}
			if err == nil || tt.want != "" && (!errors.Is(err, decode.ErrTooLarge) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the error is %v, want one about %q", err, tt.want)
			}
			if err := d.Reset(); err != nil {
				t.Fatal(err)
			}
			if err := play(tt.good[0]); err != nil || count != 2 {
				t.Errorf("after it: %d pictures, %v", count, err)
			}
		})
	}
}

func TestALargePictureOfNothingTakesNoMoreThanItself(t *testing.T) {
	d := open(t, decode.Options{Codec: pipeline.MJPEG})
	before := resident(t)
	for i := range 3 {
		if err := d.Decode(giantJPEG(t, 8192, 4352), uint64(i+1), func(*picture.Picture) { t.Error("a picture came out") }); err == nil {
			t.Error("64×48 pixels are taken for a picture of 8192×4352")
		}
	}
	// Two pictures of 4:2:0 are 107 MB.
	if grown := resident(t) - before; grown > 256<<20 {
		t.Errorf("%d bytes were taken", grown)
	}
}

func TestADecoderTakesNoThreadsOfItsOwn(t *testing.T) {
	threads := func() int {
		all, err := filepath.Glob("/proc/self/task/*")
		if err != nil || len(all) == 0 {
			t.Skip("the threads of the process are unknown: ", err)
		}
		return len(all)
	}
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("the threads of the process are unknown: ", err)
	}
	all := map[pipeline.Codec][]*pipeline.Unit{}
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265, pipeline.MJPEG} {
		all[codec] = encoded(t, encode.Options{Codec: codec, Width: 320, Height: 240}, 3)
	}
	before := threads()
	for range 16 {
		for codec, units := range all {
			d := open(t, decode.Options{Codec: codec})
			for i, u := range units {
				if err := d.Decode(u, uint64(i+1), func(*picture.Picture) {}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// Go itself may start some for calls of C.
	if more := threads() - before; more > 16 {
		t.Errorf("48 decoders took %d threads", more)
	}
}
