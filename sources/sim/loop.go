package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pion/rtp"

	"sightline/pipeline"
)

// Picture is one encoded picture of a loop.
type Picture struct {
	NALs [][]byte // without start codes; of MJPEG one whole JPEG
	// Shift is what its presentation time is later than its place in the sequence, in ticks of
	// 1/90000 s. Only B-pictures make it necessary.
	Shift int64
}

// Loop serves pictures that were encoded beforehand, over and over, to any number of paths, on an
// exact schedule and at little cost: picture n of a path, counted from 0, is Pictures[n mod
// len(Pictures)] and was taken at its path's begin + n/FPS. The paths are spread evenly over the time
// of one picture, as cameras are that know nothing of each other.
type Loop struct {
	Server   *Server
	Codec    pipeline.Codec // default H264
	Paths    []string
	Pictures []Picture // the first is a keyframe; enough of them that a clock in them is clear
	FPS      float64

	begin   time.Time
	streams []*Stream
	packets [][]*rtp.Packet // of each picture
}

// Open adds the paths to the server and prepares the packets. It is called once, before Run.
func (l *Loop) Open() error {
	if len(l.Paths) == 0 || len(l.Pictures) == 0 || !(l.FPS > 0 && l.FPS <= 1000) {
		return errors.New("open loop: it needs paths, pictures and fps between 0 and 1000")
	}
	for _, path := range l.Paths {
		stream, err := l.Server.Add(path, StreamOptions{Codec: l.Codec})
		if err != nil {
			return fmt.Errorf("open loop: %w", err)
		}
		l.streams = append(l.streams, stream)
	}
	for i, p := range l.Pictures {
		var packets []*rtp.Packet
		for _, s := range l.streams { // every stream learns the parameter sets for its description
			var err error
			if packets, err = s.packetise(p.NALs); err != nil {
				return fmt.Errorf("open loop: picture %d: %w", i, err)
			}
		}
		l.packets = append(l.packets, packets)
	}
	l.begin = time.Now()
	return nil
}

// Taken returns when picture n of a path (by its place in Paths) is taken. It is valid after Open.
func (l *Loop) Taken(path int, n int64) time.Time {
	slots := int64(len(l.Paths))
	return l.begin.Add(time.Duration(float64(n*slots+int64(path)) * float64(time.Second) / (l.FPS * float64(slots))))
}

// Begin returns when picture 0 of the first path is taken.
func (l *Loop) Begin() time.Time { return l.begin }

// Run publishes every picture at its time until ctx ends, and returns ctx's error. A picture is never
// left out; when the machine could not keep up they follow at once.
func (l *Loop) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		place := int(n % int64(len(l.Pictures)))
		for i, s := range l.streams {
			at := l.Taken(i, n)
			if err := sleepUntil(ctx, timer, at); err != nil {
				return err
			}
			pts := int64(float64(n)*clockRate/l.FPS) + l.Pictures[place].Shift
			if err := s.send(l.packets[place], pts, l.shown(at, place)); err != nil {
				return err
			}
		}
	}
}

// shown returns when a picture that leaves at a time was taken; with B-pictures another than that in
// whose place it leaves.
func (l *Loop) shown(at time.Time, place int) time.Time {
	return at.Add(time.Duration(l.Pictures[place].Shift) * time.Second / clockRate)
}

func sleepUntil(ctx context.Context, timer *time.Timer, at time.Time) error {
	timer.Reset(time.Until(at))
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
