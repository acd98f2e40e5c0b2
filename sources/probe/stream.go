package probe

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"sightline/pipeline"
)

// stream is what a sequence parameter set says.
type stream struct {
	profile, level string
	width, height  int
	fps            float64 // 0: not stated
	interlaced     bool
	chroma         string // "4:2:0"
	depth          int
}

// describe reads the first sequence parameter set that can be read among the NAL units of a keyframe.
// It takes outside bytes.
func describe(codec pipeline.Codec, nals [][]byte) (stream, bool) {
	for _, n := range nals {
		switch {
		case len(n) < 2:
		case codec == pipeline.H264 && h264.NALUType(n[0]&0x1f) == h264.NALUTypeSPS:
			var s h264.SPS
			if s.Unmarshal(n) == nil && s.ChromaFormatIdc <= 3 && s.BitDepthLumaMinus8 <= 8 {
				return ofH264(&s), true
			}
		case codec == pipeline.H265 && h265.NALUType(n[0]>>1&0x3f) == h265.NALUType_SPS_NUT:
			var s h265.SPS
			if s.Unmarshal(n) == nil && s.ChromaFormatIdc <= 3 && s.BitDepthLumaMinus8 <= 8 {
				return ofH265(&s), true
			}
		}
	}
	return stream{}, codec == pipeline.MJPEG
}

var chromas = [...]string{"4:0:0", "4:2:0", "4:2:2", "4:4:4"}

func ofH264(s *h264.SPS) stream {
	out := stream{
		profile: h264Profile(s), level: levelH264(s), width: s.Width(), height: s.Height(), fps: plausibleRate(s.FPS()),
		interlaced: !s.FrameMbsOnlyFlag, chroma: chromas[s.ChromaFormatIdc], depth: int(s.BitDepthLumaMinus8) + 8,
	}
	if !hasChroma(s.ProfileIdc) {
		out.chroma, out.depth = chromas[1], 8
	}
	return out
}

// hasChroma tells whether sets of a profile state their chroma format (ITU-T H.264 §7.3.2.1.1).
func hasChroma(profile uint8) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

// h264Profile names a profile (ITU-T H.264 annex A.2).
func h264Profile(s *h264.SPS) string {
	switch s.ProfileIdc {
	case 66:
		if s.ConstraintSet1Flag {
			return "Constrained Baseline"
		}
		return "Baseline"
	case 77:
		return "Main"
	case 88:
		return "Extended"
	case 100:
		return "High"
	case 110:
		return "High 10"
	case 122:
		return "High 4:2:2"
	case 244:
		return "High 4:4:4 Predictive"
	case 44:
		return "CAVLC 4:4:4 Intra"
	}
	return fmt.Sprintf("profile %d", s.ProfileIdc)
}

// levelH264 names a level; 1b hides behind 11 in the older profiles (ITU-T H.264 §A.3).
func levelH264(s *h264.SPS) string {
	if s.LevelIdc == 9 || s.LevelIdc == 11 && s.ConstraintSet3Flag && !hasChroma(s.ProfileIdc) {
		return "1b"
	}
	return fmt.Sprintf("%d.%d", s.LevelIdc/10, s.LevelIdc%10)
}

func ofH265(s *h265.SPS) stream {
	p := &s.ProfileTierLevel
	out := stream{
		profile: h265Profile(p.GeneralProfileIdc), level: fmt.Sprintf("%d.%d", p.GeneralLevelIdc/30, p.GeneralLevelIdc%30/3),
		width: s.Width(), height: s.Height(), fps: plausibleRate(s.FPS()),
		interlaced: p.GeneralInterlacedSourceFlag && !p.GeneralProgressiveSourceFlag,
		chroma:     chromas[s.ChromaFormatIdc], depth: int(s.BitDepthLumaMinus8) + 8,
	}
	if s.VUI != nil && s.VUI.FieldSeqFlag {
		out.interlaced = true
	}
	if p.GeneralTierFlag != 0 {
		out.level += " high tier"
	}
	return out
}

// h265Profile names a profile (ITU-T H.265 annex A.3).
func h265Profile(idc uint8) string {
	switch idc {
	case 1:
		return "Main"
	case 2:
		return "Main 10"
	case 3:
		return "Main Still Picture"
	case 4:
		return "Range Extensions"
	case 9:
		return "Screen Content"
	}
	return fmt.Sprintf("profile %d", idc)
}

// plausibleRate is 0 for a frame rate that no camera means.
func plausibleRate(fps float64) float64 {
	if fps > 0 && fps <= 1000 {
		return fps
	}
	return 0
}
