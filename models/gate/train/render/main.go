// Command render writes pictures of the simulated gate, raw, to standard output, and what is true of each to a file. It
// is what the embedded model is trained on, and a way to look at the scene.
//
//	go run ./models/gate/train/render -seed 100000 -from 30s -frames 60 -truth truth.csv > pictures.bgr
//
// The pictures are BGR, three bytes a pixel, without padding, one after another. Each line of the truth is
// "class,settled,visible": the class, 0 or 1, and the share of the object in view.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"gocv.io/x/gocv"

	"sightline/sources/sim/clock"
	"sightline/sources/sim/scene"
)

// order is what the command line asks for.
type order struct {
	scene  scene.Options
	from   time.Duration // the time of the first picture
	every  time.Duration // from one picture to the next
	frames int
	clock  bool // draw random counters, as the camera draws its own
	truth  string
}

func main() {
	var o order
	flag.Uint64Var(&o.scene.Seed, "seed", 100000, "seed of the scene")
	flag.IntVar(&o.scene.Width, "width", 640, "width in pixels")
	flag.IntVar(&o.scene.Height, "height", 360, "height in pixels")
	flag.Float64Var(&o.scene.Grain, "grain", 1, "strength of the sensor noise")
	flag.DurationVar(&o.from, "from", 0, "time of the first picture")
	flag.DurationVar(&o.every, "every", 200*time.Millisecond, "time from picture to picture")
	flag.IntVar(&o.frames, "frames", 60, "number of pictures")
	flag.BoolVar(&o.clock, "clock", true, "draw a random clock into each picture")
	flag.StringVar(&o.truth, "truth", "", "file for the truth of each picture (required)")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// run renders all pictures to out and their truth to the file that the order names.
func run(o order, out io.Writer) error {
	truth, err := os.Create(o.truth)
	if err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	pictures := bufio.NewWriterSize(out, 1<<20)
	if err := render(o, pictures, truth); err != nil {
		_ = truth.Close()
		return err
	}
	if err := pictures.Flush(); err != nil {
		return fmt.Errorf("pictures: %w", err)
	}
	if err := truth.Close(); err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	return nil
}

// render renders the pictures one after another.
func render(o order, pictures, truth io.Writer) error {
	s, err := scene.New(o.scene)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	picture := gocv.NewMat()
	defer func() { _ = picture.Close() }()
	random := rand.New(rand.NewPCG(o.scene.Seed, 77))
	for i := range o.frames {
		at := o.from + time.Duration(i)*o.every
		if err := s.Render(at, &picture); err != nil {
			return err
		}
		data, err := picture.DataPtrUint8()
		if err != nil {
			return fmt.Errorf("picture at %v: %w", at, err)
		}
		if o.clock {
			clock.DrawRGB(data, picture.Cols(), picture.Rows(), random.Uint32())
		}
		if _, err := pictures.Write(data); err != nil {
			return fmt.Errorf("picture at %v: %w", at, err)
		}
		if err := writeTruth(truth, s.Truth(at)); err != nil {
			return fmt.Errorf("truth at %v: %w", at, err)
		}
	}
	return nil
}

// writeTruth writes one line.
func writeTruth(w io.Writer, t scene.Truth) error {
	settled := 0
	if t.Settled {
		settled = 1
	}
	_, err := fmt.Fprintf(w, "%s,%d,%.3f\n", t.Class, settled, t.Visible)
	return err
}
