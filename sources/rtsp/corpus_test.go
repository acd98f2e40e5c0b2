package rtsp_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/rtsp"
)

// refused are the answers and descriptions that no pictures can come of, and what is said about them.
// Everything else in the folders must give pictures.
var refused = map[string]string{
	"luckfox_rkipc_setup_udp": "wants to use the UDP",
	"h264dvr_setup_video":     "wants to use the UDP",
	"h264dvr_setup_audio":     "wants to use the UDP",

	"media3_parse_sdpString_succeeds":                                              `offers "H261" only`,
	"media3_parse_sdpStringWithoutMandatoryFields_succeeds":                        `offers "H261" only`,
	"media3_parse_sdpStringWithTrailingWhitespace_succeeds":                        "no video",
	"media3_parse_sdpStringWithSpecialAttributeField_succeeds":                     "no video",
	"media3_parse_sdpStringWithExtraSpaceInRtpMapAttribute_succeeds":               "no video",
	"media3_parse_sdpStringWithEmptyInformationAttribute_succeeds":                 "no video",
	"media3_parse_sdpStringWithEmptySessionAttribute_throwsParserException":        "no video",
	"media3_parse_sdpStringWithDuplicatedMediaAttribute_recordsTheMostRecentValue": "no video",
}

// readings says which request a file of real answers belongs to.
func readings(name string) base.Method {
	switch {
	case strings.Contains(name, "describe"), strings.Contains(name, "response"):
		return base.Describe
	case strings.Contains(name, "setup"):
		return base.Setup
	case strings.Contains(name, "play"), strings.Contains(name, "rtptime"):
		return base.Play
	case strings.Contains(name, "options"):
		return base.Options
	}
	return ""
}

func TestAnswersOfRealCameras(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(pipelinetest.TestData(t), "rtsp", "retina_testdata", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := &scripted{}
		switch method := readings(name); {
		case strings.HasSuffix(name, "_sdp"):
			s.answers = map[base.Method][]byte{base.Describe: describeAnswer(string(content))}
		case strings.Contains(name, "unauthorized"):
			s.once = map[base.Method][]byte{base.Describe: content}
		case method != "":
			s.answers = map[base.Method][]byte{method: content}
		default:
			continue // a request
		}
		t.Run(name, func(t *testing.T) { t.Parallel(); converse(t, name, s) })
	}
}

func TestDescriptionsOfRealCameras(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(pipelinetest.TestData(t), "rtsp", "sdp", "*.sdp"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sdp")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := &scripted{answers: map[base.Method][]byte{base.Describe: describeAnswer(string(content))}}
		t.Run(name, func(t *testing.T) { t.Parallel(); converse(t, name, s) })
	}
}

// converse expects pictures of a camera, or a refusal in the words of the table.
func converse(t *testing.T, name string, s *scripted) {
	config := s.start(t)
	config.Username, config.Password = "viewer", pipeline.NewSecret("Geheim#@/")
	env, logged := environment(&network{})
	_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(gop))
	hidden(t, err.Error()+logged.String())
	if says, ok := refused[name]; ok {
		mustContain(t, err, says)
	} else if !errors.Is(err, errEnough) {
		t.Errorf("%v", err)
	}
}

// TestRecordedPackets plays packets of other senders back, as recorded by rtpdump, and lets ffmpeg
// decode what they make. The numbers are those of the timestamps and of the IDR and CRA pictures in the
// recordings, counted by other means.
func TestRecordedPackets(t *testing.T) {
	for name, test := range map[string]struct {
		codec     pipeline.Codec
		pictures  int
		keyframes int
	}{
		"h264_baseline_mode1_fua": {pipeline.H264, 57, 1},
		"h264_main_bframes_mode1": {pipeline.H264, 51, 6},
		"h265_main":               {pipeline.H265, 65, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(pipelinetest.TestData(t), "rtsp", "rtpdump", name)
			description, err := os.ReadFile(file + ".sdp")
			if err != nil {
				t.Fatal(err)
			}
			dump, err := os.ReadFile(file + ".rtpdump")
			if err != nil {
				t.Fatal(err)
			}
			s := &scripted{answers: map[base.Method][]byte{base.Describe: describeAnswer(string(description))}, packets: recorded(t, dump)}
			config := s.start(t)
			config.Stall = time.Second
			env, _ := environment(&network{})
			units, err := tryReceive(t, &rtsp.Source{Config: config}, env, func([]unit) bool { return false })
			mustContain(t, err, "no packet for 1s")
			keyframes := 0
			for _, u := range units {
				if u.Keyframe {
					keyframes++
				}
			}
			if len(units) != test.pictures || keyframes != test.keyframes || !units[0].Keyframe {
				t.Errorf("%d pictures, %d keyframes; want %d, %d", len(units), keyframes, test.pictures, test.keyframes)
			}
			decodes(t, units, test.codec)
		})
	}
}

// recorded returns the RTP packets of a recording: after a line of text and 16 bytes, each stands behind
// its length with header, its own length (0 for RTCP) and a time.
func recorded(t *testing.T, dump []byte) (packets [][]byte) {
	t.Helper()
	_, dump, ok := bytes.Cut(dump, []byte("\n"))
	if !ok || len(dump) < 16 {
		t.Fatal("not a recording")
	}
	for dump = dump[16:]; len(dump) >= 8; {
		length, size := int(binary.BigEndian.Uint16(dump)), int(binary.BigEndian.Uint16(dump[2:]))
		if length < 8 || length > len(dump) {
			t.Fatalf("a record of %d bytes in %d", length, len(dump))
		}
		if size > 0 {
			packets = append(packets, dump[8:length])
		}
		dump = dump[length:]
	}
	return packets
}

// corpus calls use for every input of a fuzz target in an archive of them.
func corpus(t *testing.T, archive, target string, use func(name string, arguments [][]byte)) {
	t.Helper()
	f, err := os.Open(filepath.Join(pipelinetest.TestData(t), "rtsp", "fuzz", archive))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	entries, n := tar.NewReader(unzipped), 0
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(header.Name, target+"/") || header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		n++
		use(filepath.Base(header.Name), arguments(t, string(content)))
	}
	if n == 0 {
		t.Errorf("%s holds nothing for %s", archive, target)
	}
}

func arguments(t *testing.T, content string) (out [][]byte) {
	for line := range strings.Lines(content) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "[]byte(") || strings.HasPrefix(line, "string(") {
			out = append(out, unquote(t, line))
		}
	}
	return out
}

// TestInputsThatBrokeOthers replays inputs on which other clients crashed: the connection ends with an
// error of one line, and nothing panics.
func TestInputsThatBrokeOthers(t *testing.T) {
	const archive = "gortsplib_fuzz_corpora.tar.gz"
	header := func(first, key string, value []byte) []byte {
		clean := strings.NewReplacer("\r", "", "\n", "").Replace(string(value))
		return []byte(first + "\r\n" + key + ": " + clean + "\r\n\r\n")
	}
	for _, test := range []struct {
		target string
		method base.Method
		raw    bool
		answer func([]byte) []byte
	}{
		{"FuzzResponseUnmarshal", base.Describe, true, func(b []byte) []byte { return b }},
		{"base/testdata/fuzz/FuzzBodyUnmarshal", base.Describe, true, func(b []byte) []byte { return b }},
		{"base/testdata/fuzz/FuzzHeaderUnmarshal", base.Describe, true, func(b []byte) []byte { return append([]byte("RTSP/1.0 200 OK\r\n"), b...) }},
		{"base/testdata/fuzz/FuzzInterleavedFrameUnmarshal", base.Play, true, func(b []byte) []byte { return b }},
		{"base/testdata/fuzz/FuzzRequestUnmarshal", base.Play, true, func(b []byte) []byte { return b }},
		{"sdpunmarshaler/testdata/fuzz/FuzzUnmarshal", base.Describe, false, func(b []byte) []byte { return describeAnswer(string(b)) }},
		{"description/testdata/fuzz/FuzzSessionUnmarshal", base.Describe, false, func(b []byte) []byte { return describeAnswer(string(b)) }},
		{"FuzzTransportsUnmarshal", base.Setup, false, func(b []byte) []byte { return header("RTSP/1.0 200 OK", "Transport", b) }},
		{"headers/testdata/fuzz/FuzzSessionUnmarshal", base.Describe, false, func(b []byte) []byte {
			return append(header("RTSP/1.0 200 OK\r\nContent-Type: application/sdp", "Session", b), plainSDP...)
		}},
		{"FuzzAuthenticateUnmarshal", base.Describe, false, func(b []byte) []byte { return header("RTSP/1.0 401 Unauthorized", "WWW-Authenticate", b) }},
		{"FuzzKeyMgmtUnmarshal", base.Setup, false, func(b []byte) []byte {
			return header("RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1", "KeyMgmt", b)
		}},
		{"FuzzRTPInfoUnmarshal", base.Play, false, func(b []byte) []byte { return header("RTSP/1.0 200 OK", "RTP-Info", b) }},
	} {
		corpus(t, archive, test.target, func(name string, arguments [][]byte) {
			for _, a := range arguments {
				t.Run(test.target+"/"+name, func(t *testing.T) {
					t.Parallel()
					for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
						s := &scripted{raw: test.raw, silent: test.raw, answers: map[base.Method][]byte{test.method: test.answer(a)}}
						survive(t, s, transport)
					}
				})
			}
		})
	}
}

func survive(t *testing.T, s *scripted, transport string) {
	config := s.start(t)
	config.Transport = transport
	config.Username, config.Password = "viewer", pipeline.NewSecret("Geheim#@/")
	env, logged := environment(&network{})
	_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
	if err == nil || strings.ContainsAny(err.Error(), "\r\n\x00") {
		t.Errorf("error %q", err)
	}
	hidden(t, err.Error()+logged.String())
}
