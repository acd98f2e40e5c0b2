// Package probe looks at one camera for some seconds and says what it is like: what it offers, what it
// sends, what of that will bite in a pipeline, and what to write into the pipeline file. It connects
// with the source that pipelines use and decodes with their decoder, so that what works here works
// there.
package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
)

// DefaultLength is how long a camera is watched.
const DefaultLength = 5 * time.Second

// Probe is one look at a camera. Fields are set before Run.
type Probe struct {
	Config  sources.RTSP
	Decoder string        // as in sources.Config; default auto
	Length  time.Duration // of the measurement, from the first picture on; default DefaultLength
	// Progress is called a few times a second while Run works, from a goroutine of its own. It may be nil.
	Progress func(Progress)
}

// Progress is how far a look is.
type Progress struct {
	Began    bool          // pictures come
	Measured time.Duration // since the first one
	Length   time.Duration
	Pictures int
	Bytes    uint64
}

// Run looks at the camera. An error says why no picture came, as a capture stage would say it. When the
// connection ends after the first picture, or ctx does, the report is of what came until then.
func (p *Probe) Run(ctx context.Context, env pipeline.Env) (*Report, error) {
	if p.Length <= 0 {
		p.Length = DefaultLength
	}
	if p.Decoder == "" {
		p.Decoder = "auto"
	}
	watching, enough := context.WithCancel(ctx)
	defer enough()
	m := &meter{began: time.Now()}
	e := newEye(p.Decoder)
	source := &rtsp.Source{Config: p.Config, Observed: &rtsp.Observation{}}
	stop := p.report(watching, m)
	var end *time.Timer
	err := source.Receive(watching, env, func(u *pipeline.Unit) {
		if end == nil {
			end = time.AfterFunc(p.Length, enough)
		}
		m.take(u)
		e.offer(u)
	})
	ended := err
	if watching.Err() != nil {
		ended = nil
	}
	if end != nil {
		end.Stop()
	}
	enough()
	stop()
	seen := e.close()
	if end == nil {
		return nil, err
	}
	return p.conclude(source.Observed.Facts(), m, seen, ended), nil
}

// report calls Progress until ctx ends. The function that it returns waits for the last call.
func (p *Probe) report(ctx context.Context, m *meter) (wait func()) {
	var working sync.WaitGroup
	if p.Progress != nil {
		working.Go(func() {
			ticker := time.NewTicker(200 * time.Millisecond)
			defer ticker.Stop()
			for {
				p.Progress(m.progress(p.Length))
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return working.Wait
}

// conclude puts together what was found.
func (p *Probe) conclude(f rtsp.Facts, m *meter, seen sight, ended error) *Report {
	r := &Report{
		Address: pipeline.RedactText(p.Config.URL), Server: f.Server, Authentication: f.Authentication,
		Transport: f.Transport, UDPRefused: f.Refused,
		Packets: Packets{Received: f.Packets, Lost: f.Lost, Reordered: f.Reordered},
		Clock:   clockOf(f, m),
		Video:   m.video(f, seen),
		Decoder: seen.decoder(),
	}
	if r.Authentication == "" {
		r.Authentication = "none"
	}
	for _, t := range f.Tracks {
		r.Tracks = append(r.Tracks, Track{Media: t.Media, Format: t.Format, Taken: t.Chosen})
	}
	r.Measured = m.lasted().Seconds()
	if !seen.first.IsZero() {
		r.FirstPicture = seen.first.Sub(m.began).Seconds()
	}
	if ended != nil {
		r.Ended = pipeline.RedactText(ended.Error())
	}
	if seen.pictures == 0 {
		r.Undecoded = seen.why(m.keyframes)
	}
	r.Warnings = warn(r)
	r.Configuration = Snippet(p.Config, r)
	return r
}

func clockOf(f rtsp.Facts, m *meter) Clock {
	c := Clock{Source: string(m.origin), Reports: f.Reports, Timeless: f.Timeless}
	if f.Reports > 0 {
		offset := f.ClockOffset.Seconds()
		c.Offset = &offset
	}
	return c
}

func (s sight) why(keyframes int) string {
	switch {
	case s.failed != nil:
		return s.failed.Error()
	case keyframes == 0:
		return "no keyframe came"
	}
	return fmt.Sprintf("the decoder made no picture of %d that came", s.units)
}
