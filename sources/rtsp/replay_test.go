package rtsp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

// TestPacketsThatBrokeOthers replays packets, NAL units and descriptions on which the parsers of others
// failed through those that stand here.
func TestPacketsThatBrokeOthers(t *testing.T) {
	for _, archive := range []string{"gortsplib_fuzz_corpora.tar.gz", "mediacommon_h26x_fuzz_corpora.tar.gz"} {
		n := 0
		inputs(t, archive, func(name string, data []byte) {
			n++
			for _, f := range []track{
				{format: &format.H264{PacketizationMode: 1}, codec: pipeline.H264},
				{format: &format.H265{}, codec: pipeline.H265},
				{format: &format.MJPEG{}, codec: pipeline.MJPEG},
			} {
				d, l, sets, err := f.reader()
				if err != nil {
					t.Fatal(err)
				}
				a := &assembler{codec: f.codec, depacketize: d, look: l, sets: sets, take: func(u *pipeline.Unit) {
					if len(u.NALs) == 0 {
						t.Errorf("%s: a unit without content", name)
					}
				}}
				feed(a, data)
				for i := range uint32(3) {
					a.packet(sent{[][]byte{append([]byte{}, data...)}, i, true}.packet(uint16(i)), a.last)
				}
			}
			if o := readOffer(data); len(o.sections) > maxSections || len(o.reduced()) == 0 {
				t.Errorf("%s: %d sections", name, len(o.sections))
			}
		})
		if n < 100 {
			t.Errorf("%s: %d inputs", archive, n)
		}
	}
}

// inputs calls use for every argument in an archive of fuzz corpora ("go test fuzz v1").
func inputs(t *testing.T, archive string, use func(name string, data []byte)) {
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
	for entries := tar.NewReader(unzipped); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "[]byte(") && !strings.HasPrefix(line, "string(") {
				continue
			}
			text, err := strconv.Unquote(line[strings.IndexByte(line, '(')+1 : len(line)-1])
			if err != nil {
				t.Fatalf("%s: %s: %v", header.Name, line, err)
			}
			use(header.Name, []byte(text))
		}
	}
}

var descriptions = []string{
	"v=0\r\ns=x\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n",
	"v=0\na=control:rtsp://192.0.2.1/x\na=key-mgmt:mikey AAAA\nm=video 0 RTP/SAVP 26 96 smart/1/90000\ns=again\na=sendonly\n" +
		"a=fmtp:96 broken\nin two=yes\na=fmtp:97 other\nm=vana 0 RTP/AVP 108\nm=audio\nm=",
}

func TestOffer(t *testing.T) {
	for i, want := range []string{
		"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n",
		"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=control:rtsp://192.0.2.1/x\r\na=key-mgmt:mikey AAAA\r\n" +
			"m=video 0 RTP/SAVP 26\r\n",
	} {
		if got := string(readOffer([]byte(descriptions[i])).write(true)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	o := readOffer([]byte(descriptions[1]))
	if got, want := o.String(), `"video payload type 26 or payload"`; !strings.HasPrefix(got, want) {
		t.Errorf("%s does not begin with %s", got, want)
	}
	tracks := readOffer([]byte(descriptions[0])).tracks("96")
	if want := (Track{Media: "video", Format: "H264", Codec: pipeline.H264, Chosen: true}); len(tracks) != 1 || tracks[0] != want {
		t.Errorf("%+v, want %+v", tracks, want)
	}
}

// FuzzOffer: whatever a camera describes, what is passed on is a description again, of no more.
func FuzzOffer(f *testing.F) {
	for _, d := range descriptions {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, description []byte) {
		o := readOffer(description)
		reduced := o.reduced()
		again := readOffer(reduced)
		if len(again.sections) != len(o.video()) {
			t.Fatalf("%d video tracks become %d: %q", len(o.video()), len(again.sections), reduced)
		}
		if o.tracks("96"); len(o.String()) == 0 {
			t.Fatal("it has no name")
		}
	})
}

// TestFilesOfRealCamerasAreMended gives every answer and request on file to what mends them, cut off at
// every place too.
func TestFilesOfRealCamerasAreMended(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(pipelinetest.TestData(t), "rtsp", "retina_testdata", "*.txt"))
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, replies := newMender(string(content))
		message, err := m.next()
		switch {
		case bytes.HasPrefix(content, []byte("RTSP/1.0 ")):
			if !bytes.HasPrefix(message, content[:12]) {
				t.Errorf("%s becomes %q, %v", filepath.Base(file), message, err)
			}
		case strings.HasSuffix(file, "_request.txt"):
			if !strings.HasPrefix(replies.String(), "RTSP/1.0 ") {
				t.Errorf("%s is answered %q", filepath.Base(file), replies)
			}
		}
		for cut := range len(content) {
			m, _ := newMender(string(content[:cut]))
			for err = nil; err == nil; {
				_, err = m.next()
			}
		}
	}
}
