// Package device receives the pictures of cameras of this machine, such as those at its USB ports, from the
// Linux kernel (Video4Linux, V4L2). It is pure Go.
//
// It takes pictures as the camera gives them: JPEG and H.264 stay encoded until one is wanted, and YUYV is
// never converted at full size. OpenCV's VideoCapture would decode and convert each one, and bring two
// hundred libraries.
package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/nal"
)

// stall is how long a camera may send nothing.
const stall = 5 * time.Second

// Source is one camera of this machine. Its methods are called from one goroutine at a time.
type Source struct {
	Config sources.Device

	open opener // nil: the kernel's
}

var _ pipeline.Source = (*Source)(nil)

// Receive implements pipeline.Source. Errors say what the operator can do. A camera that is unplugged, or
// used by another program, may be back: such errors are not permanent.
//
// The capture time of a picture is when the driver got it, by the host's clock
// (pipeline.OriginArrival). Pictures that the driver marks as damaged are counted as lost.
func (s *Source) Receive(ctx context.Context, env pipeline.Env, take func(*pipeline.Unit)) error {
	open := s.open
	if open == nil {
		open = openNode
	}
	err := s.receive(ctx, env, open, take)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("receive from %s: %w", s.Config.Path, explain(s.Config.Path, err))
}

func (s *Source) receive(ctx context.Context, env pipeline.Env, open opener, take func(*pipeline.Unit)) error {
	n, err := open(s.Config.Path)
	if err != nil {
		return err
	}
	defer n.close()
	c, err := begin(n, s.Config)
	if err != nil {
		return err
	}
	defer c.end()
	env.Log.Info("camera opened", "device", s.Config.Path, "camera", c.card, "pictures", c.describe())
	if c.adjusted != "" {
		env.Log.Warn("the camera does not give what was asked for", "device", s.Config.Path, "asked", c.adjusted, "gives", c.describe())
	}
	for {
		if err := n.wait(ctx, stall); err != nil {
			return err
		}
		if err := c.next(take); err != nil {
			return err
		}
	}
}

// next takes what is filled.
func (c *capture) next(take func(*pipeline.Unit)) error {
	b, err := c.dequeue()
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if errors.Is(err, unix.EIO) {
		c.lost++ // the driver goes on by itself
		return nil
	}
	if err != nil {
		return err
	}
	if int(b.index) >= len(c.buffers) {
		return fmt.Errorf("the driver gave buffer %d of %d", b.index, len(c.buffers))
	}
	data := c.buffers[b.index]
	data = data[:min(int(b.bytesUsed), len(data))]
	if b.flags&flagError != 0 || !c.fill(data) {
		c.lost++
	} else {
		u := &c.unit
		u.Received = time.Now()
		u.Captured = captured(b, u.Received)
		if c.first.IsZero() {
			c.first = u.Captured
		}
		u.PTS = u.Captured.Sub(c.first)
		u.Lost, c.lost = c.lost, 0
		take(u)
	}
	return c.queue(b.index)
}

// fill makes the unit of what the camera gave, and tells whether there is one.
func (c *capture) fill(data []byte) bool {
	u := &c.unit
	switch u.Codec {
	case pipeline.H264:
		u.NALs = nal.Split(data, u.NALs[:0])
		u.Keyframe = nal.Keyframe(u)
	case pipeline.YUYV:
		if need := int(c.format.height-1)*u.Stride + 2*int(c.format.width); len(data) < need {
			return false
		}
		u.NALs = append(u.NALs[:0], data)
	default:
		if len(data) < 4 || data[0] != 0xff || data[1] != 0xd8 {
			return false // some cameras begin with half a picture
		}
		u.NALs = append(u.NALs[:0], data)
	}
	return len(u.NALs) > 0
}

// captured converts the driver's time of a picture.
func captured(b *v4l2Buffer, now time.Time) time.Time {
	var clock unix.Timespec
	if b.flags&flagTimestamp != flagMonotonic || unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock) != nil {
		return now
	}
	age := time.Duration(clock.Nano() - b.seconds*int64(time.Second) - b.micros*int64(time.Microsecond))
	if age < 0 || age > stall {
		return now
	}
	return now.Add(-age)
}

var (
	errNoDevice = errors.New("it is not a device; a video file is played by the source file")
	errSilent   = errors.New("it sends no pictures")
)

// explain says what to do about an error.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no such device (%s)", present())
	case errors.Is(err, os.ErrPermission):
		return pipeline.Permanentf("this user must not use it: add it to the group video, or give a container --device %s", path)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another program uses it: %w", err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return errors.New("it is unplugged")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w for %s", errSilent, stall)
	case errors.Is(err, errNoDevice):
		return pipeline.Permanent(err)
	}
	return err
}
