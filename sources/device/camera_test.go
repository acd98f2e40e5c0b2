package device

import (
	"context"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// camera answers as a driver does (Documentation/userspace-api/media/v4l). There is none on a machine
// that tests run on.
type camera struct {
	card     string
	able     uint32
	formats  []fourCC
	width    uint32 // what it gives, whatever is asked for; 0: what is asked for
	height   uint32
	pictures func(n int) []byte // nth picture, from 0; nil: it sends nothing more
	flags    uint32             // of the buffers
	fail     map[uintptr]error  // what an ioctl answers, from the time on that it is set
	buffers  int                // that it gives; 0: as many as are asked for

	mu      sync.Mutex
	set     v4l2PixFormat
	rate    v4l2StreamParm
	memory  [][]byte
	queued  []uint32
	filled  int // pictures given
	running bool
	closed  int
}

// handle is the camera, opened.
type handle struct{ *camera }

var _ node = handle{}

const bufferSize = 64 << 10

func (h handle) memory(offset int64, length int) ([]byte, error) {
	return h.camera.memory[offset/bufferSize][:length], nil
}

func (h handle) wait(ctx context.Context, _ time.Duration) error {
	h.mu.Lock()
	more := h.running && len(h.queued) > 0 && h.pictures(h.filled) != nil || h.fail[dqBuf] != nil
	h.mu.Unlock()
	if more {
		return ctx.Err()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return os.ErrDeadlineExceeded
}

func (h handle) close() { h.closed++ }

func (h handle) control(request uintptr, arg unsafe.Pointer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fail[request]; err != nil {
		return err
	}
	switch request {
	case queryCap:
		a := (*v4l2Capability)(arg)
		copy(a.card[:], h.card)
		a.capabilities, a.deviceCaps = capDeviceCaps|0xff, h.able
	case enumFmt:
		return h.format((*v4l2FmtDesc)(arg))
	case getFmt:
		(*v4l2Format)(arg).pix = v4l2PixFormat{width: 640, height: 480, pixelFormat: h.formats[0]}
	case setFmt:
		h.adjust(&(*v4l2Format)(arg).pix)
	case setParm:
		h.rate = *(*v4l2StreamParm)(arg)
	case reqBufs:
		h.allocate((*v4l2RequestBuffers)(arg))
	case queryBuf:
		b := (*v4l2Buffer)(arg)
		b.offset, b.length = uint64(b.index)*bufferSize, bufferSize
	case qBuf:
		h.queued = append(h.queued, (*v4l2Buffer)(arg).index)
	case dqBuf:
		return h.fill((*v4l2Buffer)(arg))
	case streamOn:
		h.running = true
	case streamOff:
		h.running = false
	default:
		return unix.ENOTTY
	}
	return nil
}

func (h handle) format(f *v4l2FmtDesc) error {
	if int(f.index) >= len(h.formats) {
		return unix.EINVAL
	}
	f.pixelFormat = h.formats[f.index]
	return nil
}

func (h handle) adjust(p *v4l2PixFormat) {
	if h.width > 0 {
		p.width, p.height = h.width, h.height
	}
	p.bytesPerLine = 0
	if p.pixelFormat == fmtYUYV {
		p.bytesPerLine = 2*p.width + 16 // with padding
	}
	h.set = *p
}

func (h handle) allocate(r *v4l2RequestBuffers) {
	if h.buffers > 0 {
		r.count = uint32(h.buffers)
	}
	h.camera.memory = nil
	for range r.count {
		h.camera.memory = append(h.camera.memory, make([]byte, bufferSize))
	}
}

func (h handle) fill(b *v4l2Buffer) error {
	picture := h.pictures(h.filled)
	if len(h.queued) == 0 || picture == nil {
		return unix.EAGAIN
	}
	b.index, h.queued = h.queued[0], h.queued[1:]
	b.bytesUsed = uint32(copy(h.camera.memory[b.index], picture))
	b.flags, b.sequence = h.flags, uint32(h.filled)
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // this clock is always there
	b.seconds, b.micros = now.Sec, now.Nsec/1000
	h.filled++
	return nil
}
