//go:build cgo

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"sightline/models/onnx"
	"sightline/sources/decode"
	cameras "sightline/sources/device"
	"sightline/sources/file"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what this machine can do, and how to get what is missing",
		Long: `Try the decoders, execution providers and boxes of this machine, and look for cameras. Exit status
1 only when what every pipeline needs is missing.`,
		Example: "  sightline doctor",
		RunE: func(c *cobra.Command, _ []string) error {
			d := doctor{out: c.OutOrStdout()}
			d.machine()
			d.decoders()
			d.providers(libraryOf(c))
			d.cameras()
			d.boxes(c.Context(), builderOf(c))
			if d.lacking > 0 {
				return fmt.Errorf("doctor: %d things that every pipeline needs are missing", d.lacking)
			}
			return nil
		},
	}
}

type doctor struct {
	out     io.Writer
	lacking int
}

func (d *doctor) title(text string) { fmt.Fprintf(d.out, "\n%s\n", text) }

func (d *doctor) line(ok bool, format string, args ...any) {
	mark := "✓"
	if !ok {
		mark = "–"
	}
	fmt.Fprintf(d.out, "  %s %s\n", mark, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n    "))
}

func (d *doctor) machine() {
	fmt.Fprintf(d.out, "sightline %s on %s/%s, %d processors\n", version, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if model, err := os.ReadFile("/proc/device-tree/model"); err == nil {
		d.line(true, "board: %s", strings.TrimRight(string(model), "\x00\n"))
	}
}

func (d *doctor) decoders() {
	d.title("Decoding: libavcodec " + decode.Version())
	software := false
	for _, a := range decode.Available() {
		if a.Err != nil {
			reason, _, _ := strings.Cut(a.Err.Error(), "\n")
			d.line(false, "%s by %s: %s (it needs %s)", a.Codec, a.Decoder, reason, decoderNeeds(a.Decoder))
			continue
		}
		software = software || a.Decoder == decode.Software
		d.line(true, "%s by %s", a.Codec, a.Decoder)
	}
	if !software {
		d.lacking++
		d.line(false, "nothing decodes in software: install libavcodec with its decoders")
	}
}

// decoderNeeds says what a decoder stands on.
func decoderNeeds(decoder string) string {
	switch decoder {
	case decode.V4L2M2M:
		return "a board with a V4L2 codec, such as a Raspberry Pi 4, and access to its /dev/video devices"
	case decode.VAAPI:
		return "an Intel or AMD GPU, its VA driver (intel-media-va-driver or mesa-va-drivers), and access to /dev/dri"
	case decode.CUDA:
		return "an NVIDIA GPU with its driver"
	case decode.NVV4L2:
		return "a Jetson, and FFmpeg built with NVIDIA's decoders"
	}
	return "libavcodec with its decoders"
}

func (d *doctor) providers(library string) {
	d.title("Inference: ONNX Runtime")
	r, err := onnx.Start(library)
	if err != nil {
		d.lacking++
		d.line(false, "%s", err)
		return
	}
	d.line(true, "version %s, %s", r.Version(), r.Library())
	for _, a := range onnx.Providers(r, 0) {
		if a.Err != nil {
			d.line(false, "%s", a.Err)
			continue
		}
		d.line(true, "provider %s", a.Provider)
	}
	if err := r.Close(); err != nil {
		d.line(false, "%s", err)
	}
}

func (d *doctor) cameras() {
	d.title("Cameras")
	d.line(true, "RTSP over TCP, UDP and TLS")
	if err := file.Usable(); err != nil {
		d.line(false, "%s", err)
	} else {
		d.line(true, "video files")
	}
	devices := cameras.List()
	if len(devices) == 0 {
		d.line(false, "no local camera (/dev/video*)")
	}
	for _, found := range devices {
		if found.Err != nil {
			d.line(false, "%s: %s", found.Path, found.Err)
			continue
		}
		d.line(true, "%s %s", found.Path, found.Card)
	}
}
