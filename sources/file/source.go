// Package file plays video files of this machine: MP4, MOV, Matroska, MPEG-TS, AVI, and H.264, H.265 and
// JPEG pictures as they are, taken apart by libavformat of FFmpeg 4.4 to 7. It reads the one file that it
// is told, and nothing that a file names.
//
// libavformat is loaded when the first file is played: nobody else needs it to be there.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/nal"
)

// maxUnit is the most bytes of an encoded picture that is taken for one.
const maxUnit = 32 << 20

// Source is one file. Its methods are called from one goroutine at a time.
type Source struct {
	Config sources.File
}

var _ pipeline.Source = (*Source)(nil)

// Receive implements pipeline.Source. It plays the file from its beginning, once or again and again, and
// returns nil at its end. With the pace realtime units come when their times say (decoding times, as from
// a camera), with fast one after the other.
//
// A file that cannot be opened is tried again by the caller: it may be on a disk that comes later. One that
// is not a video that Sightline reads is an error marked by pipeline.Permanent. A file that is damaged
// or ends early plays as far as it is good; the log says so.
//
// The capture time of a picture is when it is played (pipeline.OriginArrival).
func (s *Source) Receive(ctx context.Context, env pipeline.Env, take func(*pipeline.Unit)) error {
	p := player{ctx: ctx, path: s.Config.Path, env: env, take: take, realtime: s.Config.Pace != sources.PaceFast}
	for {
		err := p.round()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("play file %q: %w", s.Config.Path, err)
		case !s.Config.Loop:
			return nil
		}
	}
}

// player is what one call of Receive works with.
type player struct {
	ctx      context.Context
	path     string
	env      pipeline.Env
	take     func(*pipeline.Unit)
	realtime bool

	clock    clock
	complain bool // a damaged file was told of
	units    int  // of this round

	// of the round
	framing framing
	sets    parameterSets
	unit    pipeline.Unit
	nals    [][]byte
	missing bool // something is missing before the next unit
}

// round plays the file once.
func (p *player) round() error {
	f, err := openRegular(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := newDemuxer()
	if err != nil {
		return err
	}
	defer d.close()
	defer stopWith(p.ctx, d)()
	if err := d.open(f, p.path); err != nil {
		return err
	}
	if err := p.begin(d); err != nil {
		return pipeline.Permanent(err)
	}
	err = p.play(d)
	switch {
	case p.ctx.Err() != nil:
		return p.ctx.Err()
	case p.units == 0 && err != nil:
		return pipeline.Permanentf("it holds no picture that can be read: %w", err)
	case p.units == 0:
		return pipeline.Permanent(errors.New("it holds no pictures"))
	case err != nil:
		p.warn("the file cannot be read to its end", "after", p.units, "err", err)
	}
	return nil
}

// stopWith has a demuxer stop when ctx ends, until the returned function is called.
func stopWith(ctx context.Context, d *demuxer) (release func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
			d.stop()
		case <-over:
		}
	}()
	return func() { close(over); <-done }
}

// openRegular opens a file to read; it does not wait for a named pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		err = pipeline.Permanent(errors.New("it is a folder; name a video file in it"))
	case err == nil && info.Size() == 0 && info.Mode().IsRegular():
		err = errors.New("it is empty")
	case err == nil && !info.Mode().IsRegular():
		err = pipeline.Permanentf("it is not a regular file (%s); a camera is read by the source device or rtsp", info.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (p *player) begin(d *demuxer) (err error) {
	if p.framing, err = parseFraming(d.codec, d.extra); err != nil {
		return err
	}
	p.sets.codec = d.codec
	p.sets.replace(p.framing.sets)
	p.unit = pipeline.Unit{Codec: d.codec, Origin: pipeline.OriginArrival}
	p.units, p.missing = 0, false
	p.clock.begin(d.interval)
	return nil
}

// play reads packets up to the end, and returns why it could not.
func (p *player) play(d *demuxer) error {
	var next packet
	for {
		if err := d.next(&next); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if next.extra != nil {
			framing, err := parseFraming(d.codec, next.extra)
			if err != nil {
				return err
			}
			p.framing = framing
			p.sets.replace(framing.sets)
		}
		if err := p.packet(&next); err != nil {
			return err
		}
	}
}

// packet makes a unit of a packet, and gives it out when it is time. An error is ctx's.
func (p *player) packet(k *packet) error {
	pts, at := p.clock.place(k)
	if !p.fill(k) {
		return nil
	}
	if p.realtime {
		if err := p.clock.wait(p.ctx, at); err != nil {
			return err
		}
	} else if err := p.ctx.Err(); err != nil {
		return err
	}
	u := &p.unit
	u.PTS, u.Hidden = pts, k.hidden
	u.Received = time.Now()
	u.Captured = u.Received
	p.units++
	p.take(u)
	return nil
}

// fill makes the unit out of a packet, and tells whether there is one.
func (p *player) fill(k *packet) bool {
	u := &p.unit
	if len(k.data) == 0 {
		return false
	}
	if len(k.data) > maxUnit {
		p.miss()
		return false
	}
	if u.Codec == pipeline.MJPEG {
		u.NALs = append(u.NALs[:0], k.data)
		u.Keyframe, u.Lost = true, 0
		if k.damaged {
			p.miss()
		}
		return !k.damaged
	}
	var whole bool
	p.nals, whole = p.framing.split(k.data, p.nals[:0])
	if !whole || k.damaged {
		p.miss()
	}
	if len(p.nals) == 0 {
		return false
	}
	u.NALs = p.nals
	u.Keyframe = k.key || nal.Keyframe(u)
	u.Lost = 0
	if p.missing {
		u.Lost = 1
	}
	p.missing = false
	p.dress()
	return true
}

// miss notes that something is missing, and tells so once.
func (p *player) miss() {
	p.missing = true
	p.warn("the file is damaged: what cannot be read is left out", "picture", p.units+1)
}

// dress puts the parameter sets before a keyframe that comes without them.
func (p *player) dress() {
	u := &p.unit
	if p.sets.keep(u.NALs) || !u.Keyframe || len(p.sets.sets) == 0 {
		return
	}
	u.NALs = append(u.NALs, p.sets.sets...)
	n := len(u.NALs) - len(p.sets.sets)
	copy(u.NALs[len(p.sets.sets):], u.NALs[:n])
	copy(u.NALs, p.sets.sets)
	p.nals = u.NALs
}

// warn tells once that the file is not as it should be.
func (p *player) warn(what string, about ...any) {
	if p.complain {
		return
	}
	p.complain = true
	p.env.Log.Warn(what, append([]any{"file", p.path}, about...)...)
}
