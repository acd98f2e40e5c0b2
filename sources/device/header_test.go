package device

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// layout is what the code takes for granted, in C and in Go.
func layout() (c []string, values []uint64) {
	var (
		format v4l2Format
		buffer v4l2Buffer
		parm   v4l2StreamParm
		able   v4l2Capability
	)
	for _, e := range []struct {
		c     string
		value uint64
	}{
		{"VIDIOC_QUERYCAP", queryCap}, {"VIDIOC_ENUM_FMT", enumFmt}, {"VIDIOC_G_FMT", getFmt}, {"VIDIOC_S_FMT", setFmt},
		{"VIDIOC_REQBUFS", reqBufs}, {"VIDIOC_QUERYBUF", queryBuf}, {"VIDIOC_QBUF", qBuf}, {"VIDIOC_DQBUF", dqBuf},
		{"VIDIOC_STREAMON", streamOn}, {"VIDIOC_STREAMOFF", streamOff}, {"VIDIOC_S_PARM", setParm},
		{"sizeof(struct v4l2_capability)", uint64(unsafe.Sizeof(able))},
		{"offsetof(struct v4l2_capability, device_caps)", uint64(unsafe.Offsetof(able.deviceCaps))},
		{"sizeof(struct v4l2_fmtdesc)", uint64(unsafe.Sizeof(v4l2FmtDesc{}))},
		{"offsetof(struct v4l2_fmtdesc, pixelformat)", uint64(unsafe.Offsetof(v4l2FmtDesc{}.pixelFormat))},
		{"sizeof(struct v4l2_format)", uint64(unsafe.Sizeof(format))},
		{"offsetof(struct v4l2_format, fmt)", uint64(unsafe.Offsetof(format.pix))},
		{"sizeof(struct v4l2_pix_format)", uint64(unsafe.Sizeof(format.pix))},
		{"offsetof(struct v4l2_pix_format, sizeimage)", uint64(unsafe.Offsetof(format.pix.sizeImage))},
		{"sizeof(struct v4l2_requestbuffers)", uint64(unsafe.Sizeof(v4l2RequestBuffers{}))},
		{"sizeof(struct v4l2_buffer)", uint64(unsafe.Sizeof(buffer))},
		{"offsetof(struct v4l2_buffer, timestamp)", uint64(unsafe.Offsetof(buffer.seconds))},
		{"offsetof(struct v4l2_buffer, sequence)", uint64(unsafe.Offsetof(buffer.sequence))},
		{"offsetof(struct v4l2_buffer, m)", uint64(unsafe.Offsetof(buffer.offset))},
		{"offsetof(struct v4l2_buffer, length)", uint64(unsafe.Offsetof(buffer.length))},
		{"sizeof(struct v4l2_streamparm)", uint64(unsafe.Sizeof(parm))},
		{"offsetof(struct v4l2_streamparm, parm.capture.timeperframe.numerator)", uint64(unsafe.Offsetof(parm.numerator))},
		{"V4L2_PIX_FMT_MJPEG", uint64(fmtMJPEG)}, {"V4L2_PIX_FMT_JPEG", uint64(fmtJPEG)},
		{"V4L2_PIX_FMT_H264", uint64(fmtH264)}, {"V4L2_PIX_FMT_YUYV", uint64(fmtYUYV)},
		{"V4L2_CAP_VIDEO_CAPTURE", capCapture}, {"V4L2_CAP_VIDEO_CAPTURE_MPLANE", capCapturePlane},
		{"V4L2_CAP_STREAMING", capStreaming}, {"V4L2_CAP_DEVICE_CAPS", capDeviceCaps},
		{"V4L2_BUF_FLAG_ERROR", flagError}, {"V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC", flagMonotonic}, {"V4L2_BUF_FLAG_TIMESTAMP_MASK", flagTimestamp},
		{"V4L2_BUF_TYPE_VIDEO_CAPTURE", typeCapture}, {"V4L2_MEMORY_MMAP", memoryMMAP}, {"V4L2_FIELD_ANY", fieldAny},
	} {
		c, values = append(c, e.c), append(values, e.value)
	}
	return c, values
}

func TestTheStructuresAreTheKernels(t *testing.T) {
	names, values := layout()
	var source, want strings.Builder
	source.WriteString("#include <linux/videodev2.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n")
	for i, name := range names {
		fmt.Fprintf(&source, "printf(\"%%s %%lu\\n\", %q, (unsigned long)%s);\n", name, name)
		fmt.Fprintf(&want, "%s %d\n", name, values[i])
	}
	source.WriteString("return 0; }\n")
	folder := t.TempDir()
	program := filepath.Join(folder, "layout")
	if err := os.WriteFile(program+".c", []byte(source.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cc", "-o", program, program+".c").CombinedOutput(); err != nil {
		t.Skipf("no C compiler, or no header of the kernel: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program).Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != want.String() {
		t.Errorf("the kernel's:\n%s\nhere:\n%s", out, want.String())
	}
}
