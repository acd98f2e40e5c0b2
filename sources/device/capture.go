package device

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sightline/pipeline"
	"sightline/sources"
)

const (
	wantBuffers = 4
	maxFormats  = 64 // that a driver can list
	maxBuffer   = 64 << 20
	maxSide     = 1 << 15
)

// capture is a camera that fills buffers.
type capture struct {
	node     node
	card     string
	format   v4l2PixFormat
	buffers  [][]byte
	unit     pipeline.Unit
	adjusted string // what was asked for, when the camera does not give it
	lost     uint64
	first    time.Time // capture time of the first picture
}

// codecs are the formats that are taken, the best first: encoded pictures come quicker over USB.
var codecs = [...]struct {
	format fourCC
	name   string // in the configuration
	codec  pipeline.Codec
}{
	{fmtMJPEG, "mjpeg", pipeline.MJPEG},
	{fmtJPEG, "mjpeg", pipeline.MJPEG},
	{fmtH264, "h264", pipeline.H264},
	{fmtYUYV, "yuyv", pipeline.YUYV},
}

// begin has a camera fill buffers.
func begin(n node, config sources.Device) (*capture, error) {
	c := &capture{node: n}
	if err := c.look(); err != nil {
		return nil, err
	}
	if err := c.choose(config); err != nil {
		return nil, err
	}
	if err := c.allocate(); err != nil {
		return nil, err
	}
	kind := int32(typeCapture)
	if err := n.control(streamOn, unsafe.Pointer(&kind)); err != nil {
		return nil, fmt.Errorf("start the pictures: %w", err)
	}
	return c, nil
}

// end stops the pictures.
func (c *capture) end() {
	kind := int32(typeCapture)
	_ = c.node.control(streamOff, unsafe.Pointer(&kind)) // it is closed next anyway
}

// look makes sure that it is a camera.
func (c *capture) look() error {
	var about v4l2Capability
	if err := c.node.control(queryCap, unsafe.Pointer(&about)); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return pipeline.Permanent(errors.New("it is not a camera (it does not answer to V4L2)"))
		}
		return fmt.Errorf("ask what it is: %w", err)
	}
	c.card = text(about.card[:])
	can := about.capabilities
	if can&capDeviceCaps != 0 {
		can = about.deviceCaps
	}
	switch {
	case can&capCapture == 0 && can&capCapturePlane != 0:
		return pipeline.Permanentf("%q gives pictures in several planes, as cameras on a board's own connector do; it needs a converter of its maker between (libcamera)", c.card)
	case can&capCapture == 0:
		return pipeline.Permanentf("%q gives no pictures here; a camera often has a second device for other data (%s)", c.card, present())
	case can&capStreaming == 0:
		return pipeline.Permanentf("%q gives pictures by reading only, which is not supported", c.card)
	}
	return nil
}

// offered lists the camera's formats.
func (c *capture) offered() ([]fourCC, error) {
	var all []fourCC
	for i := range uint32(maxFormats) {
		f := v4l2FmtDesc{index: i, kind: typeCapture}
		err := c.node.control(enumFmt, unsafe.Pointer(&f))
		if errors.Is(err, unix.EINVAL) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("ask for its formats: %w", err)
		}
		all = append(all, f.pixelFormat)
	}
	return all, nil
}

// choose sets format, size and rate.
func (c *capture) choose(config sources.Device) error {
	offered, err := c.offered()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(codecs[:], func(k struct {
		format fourCC
		name   string
		codec  pipeline.Codec
	}) bool {
		return (config.Format == "" || config.Format == sources.FormatAuto || config.Format == k.name) && slices.Contains(offered, k.format)
	})
	if at < 0 {
		return pipeline.Permanentf("%q offers %s; Sightline reads %s", c.card, names(offered), cmp.Or(strings.Trim(config.Format, sources.FormatAuto), "MJPG, JPEG, H264 and YUYV"))
	}
	chosen := codecs[at]
	f := v4l2Format{kind: typeCapture}
	if err := c.node.control(getFmt, unsafe.Pointer(&f)); err != nil {
		return fmt.Errorf("ask for its size: %w", err)
	}
	f.pix.pixelFormat, f.pix.field, f.pix.bytesPerLine, f.pix.sizeImage = chosen.format, fieldAny, 0, 0
	if config.Width > 0 {
		f.pix.width, f.pix.height = uint32(config.Width), uint32(config.Height)
	}
	if err := c.node.control(setFmt, unsafe.Pointer(&f)); err != nil {
		return fmt.Errorf("set its size: %w", err)
	}
	if f.pix.pixelFormat != chosen.format {
		return pipeline.Permanentf("%q gives %s after all, not %s as it says", c.card, f.pix.pixelFormat, chosen.format)
	}
	if f.pix.width == 0 || f.pix.height == 0 || f.pix.width > maxSide || f.pix.height > maxSide {
		return pipeline.Permanentf("%q gives pictures of %d×%d", c.card, f.pix.width, f.pix.height)
	}
	if config.Width > 0 && (int(f.pix.width) != config.Width || int(f.pix.height) != config.Height) {
		c.adjusted = fmt.Sprintf("%d×%d", config.Width, config.Height)
	}
	c.format = f.pix
	c.unit = pipeline.Unit{Codec: chosen.codec, Keyframe: true, Origin: pipeline.OriginArrival}
	if chosen.codec == pipeline.YUYV {
		c.unit.Width, c.unit.Height = int(f.pix.width), int(f.pix.height)
		c.unit.Stride = max(int(f.pix.bytesPerLine), 2*int(f.pix.width))
	}
	return c.pace(config.FPS)
}

// pace asks for a rate; a camera that cannot keeps its own.
func (c *capture) pace(fps float64) error {
	if fps <= 0 {
		return nil
	}
	p := v4l2StreamParm{kind: typeCapture, numerator: 1000, denominator: uint32(fps * 1000)}
	err := c.node.control(setParm, unsafe.Pointer(&p))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set its rate: %w", err)
	}
	return nil
}

// allocate maps the driver's buffers and hands them to it.
func (c *capture) allocate() error {
	request := v4l2RequestBuffers{count: wantBuffers, kind: typeCapture, memory: memoryMMAP}
	if err := c.node.control(reqBufs, unsafe.Pointer(&request)); err != nil {
		return fmt.Errorf("ask for buffers: %w", err)
	}
	if request.count < 2 || request.count > 32 {
		return fmt.Errorf("the driver gives %d buffers", request.count)
	}
	for i := range request.count {
		b := v4l2Buffer{index: i, kind: typeCapture, memory: memoryMMAP}
		if err := c.node.control(queryBuf, unsafe.Pointer(&b)); err != nil {
			return fmt.Errorf("ask for buffer %d: %w", i, err)
		}
		if b.length == 0 || b.length > maxBuffer {
			return fmt.Errorf("the driver has buffers of %d bytes", b.length)
		}
		mapped, err := c.node.memory(int64(uint32(b.offset)), int(b.length))
		if err != nil {
			return err
		}
		c.buffers = append(c.buffers, mapped)
		if err := c.queue(i); err != nil {
			return err
		}
	}
	return nil
}

func (c *capture) queue(index uint32) error {
	b := v4l2Buffer{index: index, kind: typeCapture, memory: memoryMMAP}
	if err := c.node.control(qBuf, unsafe.Pointer(&b)); err != nil {
		return fmt.Errorf("give a buffer back: %w", err)
	}
	return nil
}

func (c *capture) dequeue() (*v4l2Buffer, error) {
	b := &v4l2Buffer{kind: typeCapture, memory: memoryMMAP}
	if err := c.node.control(dqBuf, unsafe.Pointer(b)); err != nil {
		return nil, fmt.Errorf("take a picture: %w", err)
	}
	return b, nil
}

func (c *capture) describe() string {
	return fmt.Sprintf("%d×%d %s", c.format.width, c.format.height, c.format.pixelFormat)
}

func names(formats []fourCC) string {
	if len(formats) == 0 {
		return "no formats"
	}
	var all []string
	for _, f := range formats {
		all = append(all, f.String())
	}
	return strings.Join(all, ", ")
}
