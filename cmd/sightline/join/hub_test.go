package join

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sightline/configs"
	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/sinks"
	"sightline/sinks/sinktest"
	"sightline/web"
)

// site puts a pipeline together of one model, "scene", that looks at "gate", and one sink, "cloud".
func site(t *testing.T, dir string, change func(*configs.Pipeline)) *Site {
	t.Helper()
	s := &Site{Board: &web.Board{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), State: dir}
	s.prepare()
	begin(s, change)
	return s
}

func begin(s *Site, change func(*configs.Pipeline)) {
	p := &configs.Pipeline{
		Models: map[string]models.Config{"scene": {Inputs: []string{"gate"}, Events: &models.Events{Agree: 2, Of: 3}}},
		Sinks: map[string]sinks.Config{"cloud": {
			Inputs: []string{"scene"}, MQTT: &sinks.MQTT{}, Spool: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour, Full: sinks.DropOldest},
		}},
	}
	if change != nil {
		change(p)
	}
	s.Begin(p, nil, nil)
}

// say has the model say a class in each frame from one number to another.
func say(t *testing.T, s *Site, class string, from, to uint64) {
	t.Helper()
	taken := make(chan struct{})
	one := countdown(int(to-from+1), func() { close(taken) })
	for n := from; n <= to; n++ {
		if err := s.hub.deliver(t.Context(), "scene", sinktest.Message("gate", n, class), one); err != nil {
			t.Fatal(err)
		}
	}
	<-taken
}

// queued describes what waits for the sink.
func queued(t *testing.T, s *Site) (list []string) {
	t.Helper()
	way, leave, err := s.hub.outlet("cloud").enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	return described(way.Peek(1000, nil))
}

func described(messages []pipeline.Message) (list []string) {
	for _, m := range messages {
		if m.Event != nil {
			list = append(list, fmt.Sprintf("%s %s", m.Event.Type, m.Event.Class))
			continue
		}
		list = append(list, fmt.Sprint(m.Result.Sequence))
	}
	return list
}

func TestWhatWasTakenIsThereAfterTheEndOfTheProgram(t *testing.T) {
	dir := t.TempDir()
	s := site(t, dir, nil)
	say(t, s, "car", 1, 4)
	// The program is killed: nothing is closed. What another one finds is what is on disk.
	copied := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	next := site(t, copied, nil)
	want := []string{"1", "2", "new car", "3", "4"}
	got := queued(t, next)
	// The event was made last, so it may come twice; what comes again has its id.
	got = slices.Compact(got)
	if len(got) > len(want) && got[len(got)-1] == "new car" {
		got = got[:len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q wait, want %q", got, want)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnEventGoesOnAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	s := site(t, dir, nil)
	say(t, s, "car", 1, 4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = site(t, dir, nil)
	say(t, s, "person", 5, 8)
	messages := func() []pipeline.Message {
		way, leave, err := s.hub.outlet("cloud").enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		return way.Peek(1000, nil)
	}()
	want := []string{"1", "2", "new car", "3", "4", "5", "6", "end car", "new person", "7", "8"}
	if got := described(messages); !slices.Equal(got, want) {
		t.Fatalf("%q wait, want %q", got, want)
	}
	if began, ended := messages[2].Event.Event, messages[7].Event.Event; began != ended {
		t.Errorf("event %q ended as %q", began, ended)
	}
	begin(s, func(p *configs.Pipeline) { p.Models = map[string]models.Config{"scene": {Inputs: []string{"gate"}}} })
	if got := queued(t, s); got[len(got)-1] != "end person" {
		t.Errorf("%q wait though no events are made any more", got)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "events")); len(left) > 0 {
		t.Errorf("%v is left of events", left)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestASinkGetsWhatItSends(t *testing.T) {
	for send, want := range map[string][]string{
		sinks.SendEvents:  {"new car"},
		sinks.SendResults: {"1", "2", "3"},
	} {
		s := site(t, t.TempDir(), func(p *configs.Pipeline) {
			c := p.Sinks["cloud"]
			c.Send = []string{send}
			p.Sinks["cloud"] = c
		})
		say(t, s, "car", 1, 3)
		if got := queued(t, s); !slices.Equal(got, want) {
			t.Errorf("of %s, %q wait, want %q", send, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsTakenBeforeItIsKnownWhereItGoes(t *testing.T) {
	s := &Site{Board: &web.Board{}, Log: slog.New(slog.DiscardHandler), State: t.TempDir()}
	s.prepare()
	var taken atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.hub.deliver(ctx, "scene", sinktest.Message("gate", 1, "car"), func() { taken.Store(true) })
	}()
	cancel()
	if err := <-ended; err == nil || taken.Load() {
		t.Errorf("%v; taken: %v", err, taken.Load())
	}
	begin(s, nil)
	say(t, s, "car", 1, 1)
	if got := queued(t, s); !slices.Equal(got, []string{"1"}) {
		t.Errorf("%q wait", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A box that dies with results in its hands loses none: they go to the next one.
func TestABoxThatDiesTakesNoResultsWithIt(t *testing.T) {
	s := site(t, t.TempDir(), func(p *configs.Pipeline) { p.Models["scene"] = models.Config{Inputs: []string{"gate"}} })
	say(t, s, "car", 1, 100)
	o := s.hub.outlet("cloud")
	outbox := wire.NewOutbox(nil)
	ctx, cancel := context.WithCancel(t.Context())
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		o.carry(ctx, outbox, s.Log)
	}()
	for outbox.Waiting() < flying {
		time.Sleep(time.Millisecond)
	}
	cancel() // the box is gone, and has acknowledged none
	<-carried
	if n := outbox.Waiting(); n > 0 {
		t.Errorf("%d results are still on their way to it", n)
	}
	if got := queued(t, s); len(got) != 100 || got[0] != "1" {
		t.Errorf("%d results wait", len(got))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Results go on coming while plans are taken up.
func TestPlansBeginWhileResultsCome(t *testing.T) {
	s := site(t, t.TempDir(), nil)
	said := make(chan struct{})
	go func() {
		defer close(said)
		for n := range uint64(2000) {
			class := []string{"car", "person"}[n/3%2]
			if err := s.hub.deliver(context.Background(), "scene", sinktest.Message("gate", n+1, class), func() {}); err != nil {
				t.Error(err)
			}
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-said:
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			return
		default:
			begin(s, func(p *configs.Pipeline) { p.Models["scene"].Events.Of = 3 + n%3 })
		}
	}
}

// The last event of a model that is taken out of the file goes where those before it went.
func TestTheEventOfAModelThatGoesEnds(t *testing.T) {
	s := site(t, t.TempDir(), nil)
	say(t, s, "car", 1, 3)
	begin(s, func(p *configs.Pipeline) { p.Models, p.Sinks = nil, nil })
	if got := queued(t, s); got[len(got)-1] != "end car" {
		t.Errorf("%q wait", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
