package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/join"
	"sightline/models"
	"sightline/pipeline"
	"sightline/sinks"
)

// sink says what a publish stage works with.
func (p *planner) sink(c sinks.Config) {
	endpoints, err := join.SinkEndpoints(c)
	if err != nil {
		p.problem(err)
		return
	}
	switch {
	case c.MQTT != nil:
		p.line("upstream", "MQTT %s, QoS %d, topics %s/%s/…", pipeline.RedactText(c.MQTT.URL), c.MQTT.QoS, c.MQTT.Prefix, p.pipeline.Device)
	case c.HTTP != nil:
		p.line("upstream", "POST to %s, batches of %d", pipeline.RedactText(c.HTTP.URL), c.HTTP.Batch)
	case c.JSONL != nil:
		p.line("upstream", "JSON lines to %s", c.JSONL.Path)
	}
	where, most := "on disk", c.Spool.MaxBytes
	if c.JSONL != nil {
		where, most = "in memory", min(most, join.InMemory)
	}
	p.line("spool", "%s, %s or %s, then %s", where, most, plain(c.Spool.MaxAge), c.Spool.Full)
	if c.MQTT != nil && c.MQTT.Discovery.Enabled {
		p.line("discovery", "Home Assistant, topics %s/…", c.MQTT.Discovery.Prefix)
	}
	what := c.Send
	if len(what) == 0 {
		what = []string{sinks.SendResults, sinks.SendEvents}
	}
	p.line("sends", "%s of %s", strings.Join(what, " and "), strings.Join(c.Inputs, ", "))
	p.grants(endpoints)
}

// model says what a classify stage works with. The model is loaded here, not in its box.
func (p *planner) model(c *cobra.Command, m models.Config) {
	classifier, err := p.table.classifier(m, slog.New(slog.DiscardHandler))(c.Context())
	if err != nil {
		p.problem(err)
		return
	}
	info, wish := classifier.Info(), classifier.Wish()
	p.line("model", "%s %s", strings.TrimSpace(info.Name+" "+info.Version), info.Digest)
	p.line("provider", "%s (asked for: %s)", p.provider(m, info.Provider), m.Provider)
	p.line("wants", "%d×%d %s, %s, batches of up to %d", wish.Width, wish.Height, wish.Color, wish.Resize, info.MaxBatch)
	for _, r := range wish.Regions {
		if r.Name != "" {
			p.line("region", "%s: left %g, top %g, right %g, bottom %g", r.Name, r.Left, r.Top, r.Right, r.Bottom)
		}
	}
	if e := m.Events; e != nil {
		p.line("events", "when %d of %d results agree, held for %s", e.Agree, e.Of, plain(e.Hold))
	}
	p.line("frames of", "%s", strings.Join(m.Inputs, ", "))
	p.grants(nil)
	if err := classifier.Close(); err != nil {
		p.problem(err)
	}
}

// provider names what a model will run on. What came up inline needs not come up in a box that is not
// given the GPU.
func (p *planner) provider(m models.Config, inline string) string {
	if m.Provider == models.ProviderAuto && p.boxed() && !p.gpu {
		return models.ProviderCPU
	}
	return inline
}

// source says what a capture stage works with.
func (p *planner) source(name string) {
	c := p.pipeline.Sources[name]
	endpoints, err := join.SourceEndpoints(c)
	if err != nil {
		p.problem(err)
		return
	}
	if c.RTSP != nil {
		only := ""
		if u, err := url.Parse(c.RTSP.URL); err == nil && u.Scheme == "rtsp" && p.boxed() {
			only = " (a box has no UDP)"
		}
		p.line("camera", "%s, transport %s%s", c.RTSP.Name(), c.RTSP.Transport, only)
	}
	if c.File != nil {
		p.line("file", "%s, pace %s%s", c.File.Path, c.File.Pace, map[bool]string{true: ", again and again"}[c.File.Loop])
	}
	if c.Device != nil {
		p.line("device", "%s, %s", c.Device.Path, c.Device.Format)
	}
	if c.Patient() {
		p.line("sample", "%s, none is too late", sampleText(c.Sample.Every, c.Sample.FPS))
	} else {
		p.line("sample", "%s, stale after %s", sampleText(c.Sample.Every, c.Sample.FPS), c.Staleness)
	}
	if m := c.Motion; m != nil {
		p.line("motion", "from %g of the picture on, held for %s, %s", m.MinArea, plain(m.Hold), count(len(m.Masks), "mask"))
	}
	decoder := c.Decoder
	if decoder == "auto" && p.boxed() {
		decoder = "software (asked for: auto, and a box has what a key names)"
	}
	p.line("decoder", "%s", decoder)
	p.grants(endpoints)
}

// plain writes a duration as people do: 72h, not 72h0m0s.
func plain(d time.Duration) string {
	text := d.String()
	for _, nothing := range []string{"0s", "0m"} {
		if rest := strings.TrimSuffix(text, nothing); rest != text && strings.ContainsAny(rest[max(0, len(rest)-1):], "hm") {
			text = rest
		}
	}
	return text
}

func sampleText(every string, fps float64) string {
	if fps > 0 {
		return fmt.Sprintf("%g frames a second", fps)
	}
	if every == "" {
		every = "frame"
	}
	return "every " + every
}
