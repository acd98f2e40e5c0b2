package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sightline/pipeline"
)

// hook is an upstream that can be away: then it refuses what is sent to it, and knows it all the same.
type hook struct {
	*httptest.Server

	mu      sync.Mutex
	away    bool
	taken   []string        // ids, in order, as often as they came
	refused map[string]bool // ids
	events  []pipeline.Event
}

func newHook(t *testing.T) *hook {
	h := &hook{refused: map[string]bool{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var list []json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, text := range list {
		var e pipeline.Event
		if err := json.Unmarshal(text, &e); err != nil || e.ID == "" {
			continue // a status
		}
		switch {
		case h.away:
			h.refused[e.ID] = true
		case e.Event != "":
			h.events = append(h.events, e)
		default:
			h.taken = append(h.taken, e.ID)
		}
	}
}

func (h *hook) set(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
}

// counts returns how many messages were taken and how many different ones refused.
func (h *hook) counts() (taken, refused int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.taken), len(h.refused)
}

// check tells what is wrong: of each run of a classify stage its results have the numbers from 1 on, and
// none of them may be missing between the first and the last. What was refused must have come later.
func (h *hook) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	runs, again := map[string]map[int]bool{}, 0
	for _, id := range h.taken {
		at := strings.LastIndexByte(id, '-')
		n, err := strconv.Atoi(id[at+1:])
		if err != nil {
			t.Fatalf("id %q", id)
		}
		run := id[:at]
		if runs[run] == nil {
			runs[run] = map[int]bool{}
		}
		if runs[run][n] {
			again++
		} else if !runs[run][n] && n > 1 && !runs[run][n-1] {
			t.Errorf("result %d of run %s came before the one in front of it", n, run)
		}
		runs[run][n] = true
		delete(h.refused, id)
	}
	for _, e := range h.events {
		delete(h.refused, e.ID)
	}
	if len(h.refused) > 0 {
		t.Errorf("%d messages were refused and never came again: %q", len(h.refused), slices.Sorted(maps.Keys(h.refused)))
	}
	for run, numbers := range runs {
		for n := range slices.Max(slices.Collect(maps.Keys(numbers))) {
			if !numbers[n+1] {
				t.Errorf("result %d of run %s is missing", n+1, run)
			}
		}
	}
	t.Logf("%d messages in %d runs, %d of them came again, %d events", len(h.taken), len(runs), again, len(h.events))
}

// inOrder checks that each event is new, then updated, then ends, whatever died meanwhile.
func (h *hook) inOrder(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	seen, open := map[string]bool{}, ""
	for _, e := range h.events {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		switch {
		case e.Type == pipeline.EventNew && open == "":
			open = e.Event
		case e.Type == pipeline.EventUpdate && open == e.Event:
		case e.Type == pipeline.EventEnd && open == e.Event:
			open = ""
		default:
			t.Errorf("%s of event %s while event %q is open", e.Type, e.Event, open)
		}
	}
	if len(seen) == 0 {
		t.Error("there were no events")
	}
}

// waiting is how many results the page says wait for the upstream; -1 while it says nothing.
func waiting(page string) float64 {
	answer, err := http.Get("http://" + page + "/metrics")
	if err != nil {
		return -1
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), `sightline_spool_results{device="dev",stage="cloud"} `); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return -1
}

// The upstream is away while the stage that publishes, and then the supervisor, are killed.
func TestNothingIsLostWhileTheUpstreamIsAway(t *testing.T) {
	for _, kind := range []string{"process", "inline"} {
		t.Run(kind, func(t *testing.T) {
			s, h := newSite(t), newHook(t)
			d := newDevice(t, s, "runtime: {default: "+kind+"}\n")
			d.edit(fmt.Sprintf(`mqtt: {url: "mqtt://%s", timeout: 5s}`, s.brokerAt), fmt.Sprintf(`http: {url: "%s/"}`, h.URL))
			d.edit("threshold: 0.5", "threshold: 0.5, events: {agree: 2, of: 3, hold: 500ms}")
			page := freeAddress(t)
			d.edit(`http: {listen: "off"}`, fmt.Sprintf("http: {listen: %q}", page))
			wait := func(least float64) {
				t.Helper()
				d.await("results wait", func() bool { return waiting(page) >= least })
			}
			d.run("front.yaml")
			d.up()
			d.await("results flow", func() bool { taken, _ := h.counts(); return taken > 5 })
			h.set(true)
			wait(5)
			if kind == "process" {
				if err := syscall.Kill(d.pid("cloud"), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				wait(10)
			}
			d.kill()
			d.run()
			d.up()
			wait(15)
			h.set(false)
			before, _ := h.counts()
			d.await("all that waited is delivered", func() bool { taken, _ := h.counts(); return taken >= before+20 && waiting(page) <= 1 })
			d.stop()
			h.check(t)
			h.inOrder(t)
		})
	}
}
