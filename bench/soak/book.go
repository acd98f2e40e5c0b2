package soak

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sightline/pipeline"
)

// book is what one upstream has received. Its methods may be called from any goroutine.
type book struct {
	mu         sync.Mutex
	runs       map[string]*run
	events     map[string]*story
	deliveries int // of results and events
	duplicates int
	refused    map[string]bool   // ids of what was refused for good
	silent     map[string]bool   // ids of what was kept, and no answer said so
	heard      []answered        // that it was kept, in the last safeAfter
	late       map[string]string // by id, complaints of what came after what is newer
	wrong      []string          // what should not be
}

// answered is what was said to be kept at one time.
type answered struct {
	at  time.Time
	ids []string
}

// run is the results of one run of a classify stage. Their ids are numbered from 1 without a gap.
type run struct {
	seen        map[uint64]bool
	most        uint64    // the highest number
	first, last time.Time // when the model answered, of those that came
}

// story is one event. Its messages are numbered from 0.
type story struct {
	next  uint64
	ended bool
}

func newBook() *book {
	return &book{runs: map[string]*run{}, events: map[string]*story{}, refused: map[string]bool{}, silent: map[string]bool{}, late: map[string]string{}}
}

// maxWrong bounds how many complaints are kept.
const maxWrong = 20

func (b *book) complain(format string, args ...any) {
	if len(b.wrong) < maxWrong {
		b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
	}
}

// unheard notes that whoever sent messages does not know that they came; hear, that it does.
func (b *book) unheard(ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		b.silent[id] = true
	}
}

func (b *book) hear(ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		delete(b.silent, id)
	}
	now := time.Now()
	b.heard = slices.DeleteFunc(b.heard, func(a answered) bool { return now.Sub(a.at) > safeAfter })
	b.heard = append(b.heard, answered{now, ids})
}

// forgotten notes that whoever sent messages was killed, and may not have written down yet that they came.
func (b *book) forgotten() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, a := range b.heard {
		if now.Sub(a.at) > safeAfter {
			continue
		}
		for _, id := range a.ids {
			b.silent[id] = true
		}
	}
	b.heard = nil
}

// take notes one message: a result, an event, or something else that does not count. It returns its id.
func (b *book) take(payload []byte) (id string) {
	var m struct {
		ID       string             `json:"id"`
		Event    string             `json:"event"`
		Type     pipeline.EventType `json:"type"`
		Source   string             `json:"source"`
		Inferred time.Time          `json:"inferred"`
	}
	err := json.Unmarshal(payload, &m)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		b.complain("unreadable message: %v", err)
	case m.ID == "": // a status
	case m.Event != "":
		b.deliveries++
		b.event(m.ID, m.Event, m.Type)
	default:
		b.deliveries++
		b.result(m.ID, m.Inferred)
	}
	return m.ID
}

// refuse notes that the upstream has refused a message for good.
func (b *book) refuse(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused[id] = true
}

// part splits an id into what is before the last hyphen, and the number behind it.
func part(id string) (prefix string, number uint64, err error) {
	at := strings.LastIndexByte(id, '-')
	if at < 0 {
		return "", 0, fmt.Errorf("id %q has no number", id)
	}
	number, err = strconv.ParseUint(id[at+1:], 10, 64)
	return id[:at], number, err
}

func (b *book) result(id string, inferred time.Time) {
	prefix, number, err := part(id)
	if err != nil || number == 0 {
		b.complain("result %q: %v", id, err)
		return
	}
	r := b.runs[prefix]
	if r == nil {
		r = &run{seen: map[uint64]bool{}, first: inferred}
		b.runs[prefix] = r
	}
	switch {
	case r.seen[number]:
		b.duplicates++
		return
	case number < r.most:
		b.late[id] = fmt.Sprintf("order: result %s came after number %d", id, r.most)
	}
	r.seen[number] = true
	r.most, r.last = max(r.most, number), inferred
}

func (b *book) event(id, event string, t pipeline.EventType) {
	prefix, number, err := part(id)
	if err != nil || prefix != event {
		b.complain("message %q of event %q: not its own", id, event)
		return
	}
	s := b.events[event]
	if s == nil {
		s = &story{}
		b.events[event] = s
	}
	if number < s.next {
		b.duplicates++
		return
	}
	if number > s.next {
		b.complain("event %s: message %d came where %d was due", event, number, s.next)
	}
	if (t == pipeline.EventNew) != (number == 0) || s.ended {
		b.complain("event %s: message %d is %q; ended before: %t", event, number, t, s.ended)
	}
	s.next, s.ended = number+1, t == pipeline.EventEnd
}

// counts are the sums of a book.
type counts struct {
	results, duplicates, deliveries, events, open, silent, refused int
	wrong                                                          []string
}

func (b *book) sum() (c counts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.runs {
		c.results += len(r.seen)
	}
	for _, s := range b.events {
		c.events++
		if !s.ended {
			c.open++
		}
	}
	for id := range b.refused {
		prefix, number, err := part(id)
		if r := b.runs[prefix]; err == nil && (r == nil || !r.seen[number]) {
			c.refused++
		}
	}
	// Whoever has given up waiting for an answer may send what is newer first, while what it sent before is
	// still on its way: nobody can call that back. What it knows to have come has to be in order.
	c.wrong = slices.Clone(b.wrong)
	for _, id := range slices.Sorted(maps.Keys(b.late)) {
		if !b.silent[id] && len(c.wrong) < maxWrong {
			c.wrong = append(c.wrong, b.late[id])
		}
	}
	c.duplicates, c.deliveries, c.silent = b.duplicates, b.deliveries, len(b.silent)
	return c
}

// received is how many results of a run came, and the highest number of them.
func (b *book) received(prefix string) (results int, most uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.runs[prefix]
	if r == nil {
		return 0, 0
	}
	return len(r.seen), r.most
}
