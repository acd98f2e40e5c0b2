package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sightline/pipeline"
	"sightline/web"
)

// Viewer is the demo's upstream: it subscribes to the broker as any consumer of results would, shows
// what arrives, and holds it against the truth.
type Viewer struct {
	Site     *Site
	Prefix   string // of the topics, with the device
	Out      io.Writer
	Terminal bool               // whether the last line of Out can be overwritten
	Stages   func() []web.Stage // whose frames the summary counts
	Starting func() string      // what has not come up yet, in words

	client mqtt.Client
	began  time.Time
	first  chan struct{} // closed with the first result

	mu      sync.Mutex
	tally   Tally
	line    string // what stands on the terminal's last line
	current string // class and confidence of the newest result
	age     time.Duration
	firstAt time.Time // of the first result
}

// state is the part of a state message that the viewer shows; the class is empty when none is sure.
type state struct {
	Source     string
	Class      string
	Confidence float64
	Captured   time.Time
}

const answerTime = 10 * time.Second

// Open connects and subscribes.
func (v *Viewer) Open() error {
	u, err := v.Site.Broker()
	if err != nil {
		return fmt.Errorf("address of the broker: %w", err)
	}
	v.began, v.first = time.Now(), make(chan struct{})
	options := mqtt.NewClientOptions().AddBroker("tcp://" + u.Host).SetClientID("sightline-demo-viewer").SetOrderMatters(true)
	v.client = mqtt.NewClient(options)
	if err := wait(v.client.Connect()); err != nil {
		return fmt.Errorf("connect the viewer to the broker: %w", err)
	}
	if err := wait(v.client.Subscribe(v.Prefix+"/#", 1, v.receive)); err != nil {
		return fmt.Errorf("subscribe to %s/#: %w", v.Prefix, err)
	}
	return nil
}

func wait(t mqtt.Token) error {
	if !t.WaitTimeout(answerTime) {
		return errors.New("no answer")
	}
	return t.Error()
}

// receive is called for every message, one after the other.
func (v *Viewer) receive(_ mqtt.Client, m mqtt.Message) {
	now := time.Now()
	topic := strings.TrimPrefix(m.Topic(), v.Prefix+"/")
	switch topic[strings.LastIndexByte(topic, '/')+1:] {
	case "result":
		var r pipeline.Result
		if err := json.Unmarshal(m.Payload(), &r); err != nil {
			v.say("unreadable result on %s: %v", m.Topic(), err)
			return
		}
		v.result(&r, now)
	case "state":
		var s state
		if err := json.Unmarshal(m.Payload(), &s); err == nil && s.Class != "" {
			v.say("%s  %s sees %s (%.0f%%)", s.Captured.Local().Format("15:04:05.0"), s.Source, s.Class, 100*s.Confidence)
		}
	case "status":
		var s pipeline.Status
		if err := json.Unmarshal(m.Payload(), &s); err == nil {
			v.say("%s  %s", s.Since.Local().Format("15:04:05.0"), strings.Join(strings.Fields(fmt.Sprint(s.Source, " is ", s.State, " ", s.Reason, " ", s.Detail)), " "))
		}
	}
}

func (v *Viewer) result(r *pipeline.Result, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.age = now.Sub(r.Captured)
	if v.tally.Results() == 0 {
		v.firstAt = now
		close(v.first)
	}
	said := ""
	v.current = "nothing sure"
	if r.Top != nil {
		said = r.Top.Class
		v.current = fmt.Sprintf("%s %.0f%%", r.Top.Class, 100*r.Top.Confidence)
	}
	class, settled := v.Site.Truth(r.Captured)
	v.tally.Add(v.age, said, class, settled)
}

// First is closed when the first result has come.
func (v *Viewer) First() <-chan struct{} { return v.first }

// Watch keeps the summary line alive until ctx ends: several times a second on a terminal, a line
// every few seconds elsewhere.
func (v *Viewer) Watch(ctx context.Context) {
	period := 5 * time.Second
	if v.Terminal {
		period = 250 * time.Millisecond
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			v.progress()
		}
	}
}

func (v *Viewer) progress() {
	v.mu.Lock()
	defer v.mu.Unlock()
	line := fmt.Sprintf("%4.0fs  %s", time.Since(v.began).Seconds(), v.progressText())
	if !v.Terminal {
		fmt.Fprintln(v.Out, line)
		return
	}
	fmt.Fprintf(v.Out, "\r%-*s", len(v.line), line)
	v.line = line
}

// progressText says what comes, or what is waited for. v.mu is held.
func (v *Viewer) progressText() string {
	n := v.tally.Results()
	if n == 0 {
		return "no result yet: " + v.Starting()
	}
	rate := float64(n) / max(1, time.Since(v.firstAt).Seconds())
	return fmt.Sprintf("%d results (%.1f/s)  now %s  age %s  agreement %s", n, rate, v.current, milliseconds(v.age), v.tally.agreement())
}

// say writes a line above the summary line.
func (v *Viewer) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	if v.line == "" {
		fmt.Fprintln(v.Out, line)
		return
	}
	fmt.Fprintf(v.Out, "\r%-*s\n%s", len(v.line), line, v.line)
}

// Finish disconnects, writes the summary, and returns an error when no results flowed.
func (v *Viewer) Finish() error {
	v.client.Disconnect(250)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.line != "" {
		fmt.Fprintln(v.Out)
	}
	if v.tally.Results() == 0 {
		return fmt.Errorf("demo: no result arrived within %s: %s", time.Since(v.began).Round(time.Second), v.Starting())
	}
	fmt.Fprint(v.Out, v.tally.Summary(time.Since(v.began), v.frames()))
	return nil
}

// frames adds up what the stages counted.
func (v *Viewer) frames() Frames {
	f := Frames{Dropped: map[string]uint64{}}
	for _, stage := range v.Stages() {
		for _, s := range stage.Samples() {
			switch s.Name {
			case pipeline.FramesReceived.Name:
				f.Seen += uint64(s.Value)
			case pipeline.FramesAnalysed.Name:
				f.Analysed += uint64(s.Value)
			case pipeline.FramesDropped.Name:
				if i := slices.Index(s.Labels, "reason"); i >= 0 && s.Value > 0 {
					f.Dropped[s.Labels[i+1]] += uint64(s.Value)
				}
			}
		}
	}
	return f
}
