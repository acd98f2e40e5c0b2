package capture

import (
	"fmt"
	"slices"
	"time"

	"sightline/pipeline"
	"sightline/sources/picture"
	"sightline/sources/scale"
)

// delivery scales pictures as the consumers wish, each distinct frame once, and puts them on the links.
type delivery struct {
	stage  *Stage
	scaler scale.Scaler
	frames *pipeline.FramePool
	made   []made // of the picture in hand
	// patience is closed when it is no longer waited for consumers; nil: it never is.
	patience <-chan struct{}

	sent    pipeline.Counter
	seconds pipeline.Histogram
}

// made is a frame with what it was made for.
type made struct {
	wish   *pipeline.Wish
	region pipeline.Region
	frame  *pipeline.Frame
}

func newDelivery(s *Stage) *delivery {
	labels := []string{"stage", s.Env.Stage, "source", s.Env.Stage}
	return &delivery{
		stage: s, frames: &pipeline.FramePool{},
		sent:    s.Env.Stats.Counter(pipeline.FramesSent, labels...),
		seconds: s.Env.Stats.Histogram(pipeline.ScaleSeconds, labels...),
	}
}

func (d *delivery) close() { d.scaler.Close() }

// wanted tells whether any consumer wishes for frames.
func (d *delivery) wanted() bool {
	for _, l := range d.stage.Links {
		if l.Wish() != nil {
			return true
		}
	}
	return false
}

// await returns true when every consumer wants frames and has none waiting, false when patience ended
// before.
func (d *delivery) await() bool {
	if d.patience == nil {
		return true
	}
	for _, l := range d.stage.Links {
		for !idle(l) {
			select {
			case <-l.Changed():
			case <-d.patience:
				return false
			}
		}
	}
	return true
}

// idle tells whether a link's consumer wants frames and has none waiting.
func idle(l *pipeline.FrameLink) bool {
	w := l.Wish()
	if w == nil {
		return false
	}
	return !slices.ContainsFunc(w.Regions, func(r pipeline.Region) bool { return !l.Free(r.Name) })
}

// send gives every link its frames of one picture, and tells how many those were.
func (d *delivery) send(p *picture.Picture) (sent int, err error) {
	defer d.release()
	for _, l := range d.stage.Links {
		w := l.Wish()
		if w == nil {
			continue
		}
		for _, region := range w.Regions {
			f, err := d.frame(p, w, region)
			if err != nil {
				return sent, err
			}
			l.Put(f)
			d.sent.Add(1)
			sent++
		}
	}
	return sent, nil
}

// frame returns a frame for one link: scaled, or copied from one that another link got, since a link
// writes into what it carries.
func (d *delivery) frame(p *picture.Picture, w *pipeline.Wish, region pipeline.Region) (*pipeline.Frame, error) {
	f := d.frames.New(w.Width, w.Height)
	for _, m := range d.made {
		if m.region == region && alike(m.wish, w) {
			d.fill(f, p, w, region)
			copy(f.Data, m.frame.Data)
			f.Times.Decoded = m.frame.Times.Decoded
			return f, nil
		}
	}
	began := time.Now()
	if err := d.scaler.Scale(p, w, region, f.Data); err != nil {
		f.Release()
		return nil, fmt.Errorf("region %q: %w", region.Name, err)
	}
	d.fill(f, p, w, region)
	f.Times.Decoded = time.Now()
	d.seconds.Observe(f.Times.Decoded.Sub(began))
	f.Retain()
	d.made = append(d.made, made{w, region, f})
	return f, nil
}

func (d *delivery) fill(f *pipeline.Frame, p *picture.Picture, w *pipeline.Wish, region pipeline.Region) {
	f.Source, f.Region, f.Sequence, f.Color = d.stage.Env.Stage, region.Name, p.Sequence, w.Color
	f.Times = pipeline.Times{Captured: p.Captured, Origin: p.Origin, Received: p.Received}
	if d.stage.budget() > 0 {
		f.Deadline = p.Received.Add(d.stage.budget())
	}
}

// release gives up the frames that were kept to copy from.
func (d *delivery) release() {
	for i := range d.made {
		d.made[i].frame.Release()
		d.made[i] = made{}
	}
	d.made = d.made[:0]
}

// alike tells whether two wishes, their regions aside, ask for the same.
func alike(a, b *pipeline.Wish) bool {
	return a.Width == b.Width && a.Height == b.Height && a.Color == b.Color && a.Resize == b.Resize &&
		a.CropFraction == b.CropFraction && a.Pad == b.Pad
}
