package rtsp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"

	"sightline/pipeline"
	"sightline/sources/nal"
)

// track is the one track of a camera that is received.
type track struct {
	media  *description.Media
	format format.Format
	codec  pipeline.Codec
}

// choose picks the video track: the first of H.264 or H.265, else the first of MJPEG. Tracks that
// send to the camera (back channels), audio and metadata are none.
func choose(medias []*description.Media) (track, error) {
	var jpeg *track
	var others []string
	for _, media := range medias {
		for _, f := range media.Formats {
			t := track{media: media, format: f, codec: codecOf(f)}
			switch {
			case media.Type != description.MediaTypeVideo || media.IsBackChannel:
			case t.codec == "":
				others = append(others, codecName(f))
			case t.codec != pipeline.MJPEG:
				return t, nil
			case jpeg == nil:
				jpeg = &t
			}
		}
	}
	switch {
	case jpeg != nil:
		return *jpeg, nil
	case len(others) > 0:
		return track{}, pipeline.Permanentf("the camera offers %s only; Sightline reads H.264, H.265 and MJPEG: choose another stream profile in the camera",
			strings.Join(slices.Compact(others), ", "))
	}
	return track{}, pipeline.Permanentf("the camera offers no video track at this address (%d other tracks)", len(medias))
}

func codecOf(f format.Format) pipeline.Codec {
	switch f.(type) {
	case *format.H264:
		return pipeline.H264
	case *format.H265:
		return pipeline.H265
	case *format.MJPEG:
		return pipeline.MJPEG
	}
	return ""
}

// codecName names a format for people; the generic ones by their rtpmap.
func codecName(f format.Format) string {
	name := f.Codec()
	if generic, ok := f.(*format.Generic); ok {
		name, _, _ = strings.Cut(generic.RTPMap(), "/")
	}
	if name == "" {
		return fmt.Sprintf("payload type %d", f.PayloadType())
	}
	return fmt.Sprintf("%.32q", name)
}

// depacketize returns the NAL units that a packet completes, or the JPEG. It returns nothing, without
// an error, for a packet that continues one; errMidway for a packet that continues what was not
// received; any other error for what cannot be mended.
type depacketize func(*rtp.Packet) ([][]byte, error)

// errMidway is what a stream gives that is joined within a picture.
var errMidway = rtph264.ErrNonStartingPacketAndNoPrevious

// reader makes the parts of an assembler that depend on the codec, and the parameter sets of the
// description.
func (t track) reader() (depacketize, look, parameterSets, error) {
	var sets parameterSets
	switch f := t.format.(type) {
	case *format.H264:
		decoder, err := f.CreateDecoder()
		sps, pps := f.SafeParams()
		announce(lookH264, &sets, sps, pps)
		return h264Reader(decoder), lookH264, sets, unsupported(err)
	case *format.H265:
		decoder, err := f.CreateDecoder()
		vps, sps, pps := f.SafeParams()
		announce(lookH265, &sets, vps, sps, pps)
		return h265Reader(decoder), lookH265, sets, unsupported(err)
	case *format.MJPEG:
		decoder, err := f.CreateDecoder()
		return jpegReader(decoder), nil, sets, unsupported(err)
	}
	return nil, nil, sets, pipeline.Permanentf("codec %q is not one of H.264, H.265 and MJPEG", t.codec)
}

func unsupported(err error) error {
	if err == nil {
		return nil
	}
	return pipeline.Permanentf("the camera packs its stream in a way that is not supported: %w", err)
}

// announce keeps the parameter sets of a description; some cameras put start codes before them.
func announce(look look, sets *parameterSets, described ...[]byte) {
	for _, set := range described {
		for _, unit := range splitStartCodes(set, nil) {
			look(unit, &picture{}, sets)
		}
	}
}

// splitStartCodes appends a NAL unit to into. A well-formed one has no start code inside (ITU-T H.264
// §7.4.1); some cameras send several in one, as a byte stream, which are separated here.
func splitStartCodes(unit []byte, into [][]byte) [][]byte {
	code := bytes.Index(unit, []byte{0, 0, 1})
	if code < 0 {
		if len(unit) > 0 {
			into = append(into, unit)
		}
		return into
	}
	if head := bytes.TrimRight(unit[:code], "\x00"); len(head) > 0 {
		into = append(into, head)
	}
	return nal.Split(unit[code:], into)
}

// The markers of packets are not left to the decoders of gortsplib: they would hold back a picture
// until the next one when a marker is lost. The assembler knows better, so every NAL unit is asked for
// as soon as it is complete.

// A fragment's header says whether it is the last (RFC 6184 §5.8, RFC 7798 §4.4.3). Some cameras forget
// that, but not the marker of the picture's last packet, which is the same then.
const lastFragment = 0x40

func h264Reader(d *rtph264.Decoder) depacketize {
	return func(pkt *rtp.Packet) ([][]byte, error) {
		if pkt.Marker && len(pkt.Payload) > 2 && pkt.Payload[0]&31 == 28 {
			pkt.Payload[1] |= lastFragment
		}
		pkt.Marker = true
		nals, err := d.Decode(pkt)
		if err == rtph264.ErrMorePacketsNeeded {
			return nil, nil
		}
		return nals, err
	}
}

func h265Reader(d *rtph265.Decoder) depacketize {
	return func(pkt *rtp.Packet) ([][]byte, error) {
		if pkt.Marker && len(pkt.Payload) > 3 && pkt.Payload[0]>>1&63 == 49 {
			pkt.Payload[2] |= lastFragment
		}
		pkt.Marker = true
		nals, err := d.Decode(pkt)
		switch err {
		case rtph265.ErrMorePacketsNeeded:
			return nil, nil
		case rtph265.ErrNonStartingPacketAndNoPrevious:
			return nil, errMidway
		}
		return nals, err
	}
}

func jpegReader(d *rtpmjpeg.Decoder) depacketize {
	var picture [1][]byte
	return func(pkt *rtp.Packet) ([][]byte, error) {
		data, err := d.Decode(pkt)
		switch err {
		case nil:
			picture[0] = data
			return picture[:], nil
		case rtpmjpeg.ErrMorePacketsNeeded:
			return nil, nil
		case rtpmjpeg.ErrNonStartingPacketAndNoPrevious:
			return nil, errMidway
		}
		return nil, err
	}
}
