// Package camera films a scene: a simulated camera whose pictures are rendered, encoded and served
// live, with a clock in them, and whose truth is known.
package camera

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gocv.io/x/gocv"

	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/clock"
	"sightline/sources/sim/scene"
)

// Camera films one scene for one path of a server.
//
// Picture n is the scene as it is at Taken(n), exactly n/FPS after the beginning; that is its time in
// the sender reports, and n is the clock drawn into it. When the machine does not keep up, numbers are
// left out.
type Camera struct {
	Server *sim.Server
	Path   string
	Scene  scene.Options
	Encode encode.Options // Codec, FPS, BitRate, GOP, BFrames, Preset; the size is the scene's
	Audio  bool           // a track of silence beside the video

	scene   *scene.Scene
	encoder *encode.Encoder
	convert *encode.Converter
	stream  *sim.Stream
	begin   time.Time
	bgr     gocv.Mat
	rgb     gocv.Mat
	i420    []byte
}

// Open makes the camera ready and adds its path to the server. The scene begins now. After an error
// there is nothing to close.
func (c *Camera) Open() error {
	if err := c.open(); err != nil {
		return fmt.Errorf("open simulated camera %q: %w", c.Path, errors.Join(err, c.Close()))
	}
	return nil
}

func (c *Camera) open() error {
	if c.Scene.Width == 0 || c.Scene.Height == 0 {
		c.Scene.Width, c.Scene.Height = 640, 360
	}
	c.bgr, c.rgb = gocv.NewMat(), gocv.NewMat()
	var err error
	if c.scene, err = scene.New(c.Scene); err != nil {
		return err
	}
	c.Encode.Width, c.Encode.Height = c.Scene.Width, c.Scene.Height
	if c.encoder, err = encode.Open(c.Encode); err != nil {
		return err
	}
	c.Encode = c.encoder.Options()
	if c.convert, err = encode.NewConverter(c.Encode); err != nil {
		return err
	}
	c.i420 = make([]byte, c.Encode.PictureSize())
	c.stream, err = c.Server.Add(c.Path, sim.StreamOptions{Codec: c.Encode.Codec, Audio: c.Audio})
	c.begin = time.Now()
	return err
}

// Close frees the camera. The path stays on the server, without pictures. It may be called again.
func (c *Camera) Close() error {
	var errs []error
	if c.encoder != nil {
		errs = append(errs, c.encoder.Close())
	}
	if c.scene != nil {
		errs = append(errs, c.scene.Close(), c.bgr.Close(), c.rgb.Close())
	}
	c.encoder, c.scene = nil, nil
	return errors.Join(errs...)
}

// Taken returns when picture n is taken; n is what clock.Read finds in it.
func (c *Camera) Taken(n uint32) time.Time { return c.begin.Add(c.offset(int64(n))) }

// Truth says what is in view at a time. It may be called from any goroutine between Open and Close.
func (c *Camera) Truth(at time.Time) scene.Truth { return c.scene.Truth(at.Sub(c.begin)) }

func (c *Camera) offset(n int64) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(c.Encode.FPS)
}

// Run films until ctx ends, and returns ctx's error.
func (c *Camera) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		timer.Reset(time.Until(c.begin.Add(c.offset(n))))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if latest := int64(time.Since(c.begin)) * int64(c.Encode.FPS) / int64(time.Second); latest > n {
			n = latest
		}
		if err := c.film(n); err != nil {
			return fmt.Errorf("film picture %d of %q: %w", n, c.Path, err)
		}
	}
}

// film renders, encodes and publishes picture n, or with B-pictures others that were waiting for it.
func (c *Camera) film(n int64) error {
	if err := c.scene.Render(c.offset(n), &c.bgr); err != nil {
		return err
	}
	if err := gocv.CvtColor(c.bgr, &c.rgb, gocv.ColorBGRToRGB); err != nil {
		return err
	}
	rgb, err := c.rgb.DataPtrUint8()
	if err != nil {
		return err
	}
	if err := c.convert.Convert(c.i420, rgb); err != nil {
		return err
	}
	width, height := c.Encode.Width, c.Encode.Height
	clock.DrawI420(c.i420, width, width, height, uint32(n))
	fps := int64(c.Encode.FPS)
	return c.encoder.Encode(c.i420, n*encode.Clock/fps, func(nals [][]byte, _ bool, pts int64) error {
		number := (pts*fps + encode.Clock/2) / encode.Clock
		return c.stream.Publish(nals, pts, c.begin.Add(c.offset(number)))
	})
}
