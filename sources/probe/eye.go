package probe

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"sightline/pipeline"
	"sightline/sources/decode"
	"sightline/sources/picture"
)

const (
	wanted    = 12 // pictures to decode
	maxLooked = 32 // units to decode for them
)

// sight is what decoding a few pictures showed.
type sight struct {
	name          string // of the decoder, as it calls itself
	units         int
	pictures      int // that came out whole
	damaged       int
	first         time.Time // when the first one was there
	spent         time.Duration
	width, height int
	chroma        string
	depth         int
	failed        error // the last thing that went wrong
}

// eye decodes the first pictures of a stream beside the reception, which waits for nothing.
type eye struct {
	decoder string
	units   chan *pipeline.Unit
	done    chan struct{}
	seen    sight // read it after done

	begun, over bool // of the side that offers
	offered     int
}

func newEye(decoder string) *eye {
	return &eye{decoder: decoder, units: make(chan *pipeline.Unit, maxLooked), done: make(chan struct{})}
}

// offer takes a copy of a unit, if more are wanted. It never waits.
func (e *eye) offer(u *pipeline.Unit) {
	if e.over || !e.begun && !u.Keyframe {
		return
	}
	if !e.begun {
		e.begun = true
		go e.look(u.Codec)
	}
	if e.offered++; e.offered >= maxLooked {
		e.over = true
	}
	c := *u
	c.NALs = make([][]byte, len(u.NALs))
	for i, n := range u.NALs {
		c.NALs[i] = bytes.Clone(n)
	}
	e.units <- &c // there is room for all of them
	if e.over {
		close(e.units)
	}
}

// close returns what was seen.
func (e *eye) close() sight {
	if !e.begun {
		return sight{}
	}
	if !e.over {
		e.over = true
		close(e.units)
	}
	<-e.done
	return e.seen
}

// look decodes until enough pictures came out or no more units come.
func (e *eye) look(codec pipeline.Codec) {
	defer close(e.done)
	s := &e.seen
	d, err := decode.Open(decode.Options{Codec: codec, Decoder: e.decoder})
	if err != nil {
		s.failed = err
		return
	}
	defer func() { s.failed = errors.Join(s.failed, d.Close()) }()
	for u := range e.units {
		if s.pictures >= wanted {
			continue
		}
		s.units++
		began := time.Now()
		err := d.Decode(u, uint64(s.units), s.take)
		s.spent += time.Since(began)
		if err != nil {
			s.failed = err
		}
	}
	if err := d.Drain(s.take); err != nil {
		s.failed = err
	}
	s.name = d.Name()
}

func (s *sight) take(p *picture.Picture) {
	if p.Corrupt || p.Partial {
		s.damaged++
		return
	}
	if s.pictures++; s.pictures == 1 {
		s.first = time.Now()
	}
	s.width, s.height, s.depth, s.chroma = p.Width, p.Height, int(p.Depth), chromaOf(p)
}

func chromaOf(p *picture.Picture) string {
	switch {
	case p.Model == picture.Gray:
		return "4:0:0"
	case p.Model == picture.RGB || p.SubX == 0:
		return "4:4:4"
	case p.SubY == 0 && p.SubX == 1:
		return "4:2:2"
	}
	return "4:2:0"
}

func (s sight) decoder() Decoder {
	d := Decoder{Name: s.name, Software: strings.Contains(s.name, "(software"), Pictures: s.pictures, Damaged: s.damaged}
	if s.pictures > 0 {
		d.Seconds = s.spent.Seconds() / float64(max(s.units, 1))
	}
	return d
}
