package configs

import (
	"strings"
	"testing"
)

// image is the header of a qcow2 image of version 3.
func image(change func(header []byte)) []byte {
	header := make([]byte, 104)
	copy(header, qcow2Magic+"\x00\x00\x00\x03")
	change(header)
	return header
}

func TestImagesThatLeadToOtherFilesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		header []byte
		format string
		says   string // empty: well
	}{
		"alone":               {image(func([]byte) {}), QCOW2, ""},
		"backing file":        {image(func(h []byte) { h[15] = 104 }), QCOW2, "another image"},
		"backing file, high":  {image(func(h []byte) { h[8] = 1 }), QCOW2, "another image"},
		"data file":           {image(func(h []byte) { h[79] = 4 }), QCOW2, "another file"},
		"data file and dirty": {image(func(h []byte) { h[79] = 5 }), QCOW2, "another file"},
		"dirty":               {image(func(h []byte) { h[79] = 1 }), QCOW2, ""},
		"version 2":           {image(func(h []byte) { h[7], h[79] = 2, 4 })[:72], QCOW2, ""},
		"cut off":             {image(func([]byte) {})[:71], QCOW2, "cut off"},
		"empty":               {nil, QCOW2, "no qcow2"},
		"raw as qcow2":        {make([]byte, 512), QCOW2, "no qcow2"},
		"qcow2 as raw":        {image(func([]byte) {}), Raw, "is a qcow2"},
		"raw":                 {make([]byte, 512), Raw, ""},
	} {
		t.Run(name, func(t *testing.T) {
			problem, _ := imageProblem(c.header, c.format)
			if (problem == "") != (c.says == "") || !strings.Contains(problem, c.says) {
				t.Errorf("says %q, want %q", problem, c.says)
			}
		})
	}
}

func FuzzImageProblem(f *testing.F) {
	f.Add(image(func([]byte) {}), true)
	f.Add([]byte(qcow2Magic), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, header []byte, qcow2 bool) {
		format := Raw
		if qcow2 {
			format = QCOW2
		}
		problem, _ := imageProblem(header, format)
		if is := strings.HasPrefix(string(header), qcow2Magic); is != qcow2 && (is || qcow2) && problem == "" {
			t.Errorf("takes %q for %s", header, format)
		}
	})
}
