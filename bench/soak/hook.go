package soak

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// answer is how the web server answers.
type answer string

// The answers of the web server.
const (
	well    answer = "well"
	busy    answer = "busy"    // 503, wants to be asked again in a second
	limited answer = "limited" // 429, without saying when
	broken  answer = "broken"  // 500
	mute    answer = "mute"    // takes everything, and breaks the connection instead of an answer
	refuses answer = "refuses" // 400: never
)

// hookPlace is a web server that takes batches.
type hookPlace struct {
	gate   *gate
	book   *book
	server *http.Server
	ended  chan struct{}

	mu     sync.Mutex
	answer answer
	asked  map[string][]string // by client: the ids of what it sent last, and were kept
}

func newHookPlace() (*hookPlace, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &hookPlace{book: newBook(), answer: well, asked: map[string][]string{}, ended: make(chan struct{})}
	p.server = &http.Server{Handler: p}
	go func() {
		defer close(p.ended)
		_ = p.server.Serve(listener) // until it is closed
	}()
	if p.gate, err = newGate(listener.Addr().String(), p.watch); err != nil {
		p.server.Close()
		return nil, err
	}
	return p, nil
}

func (p *hookPlace) say(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = a
}

func (p *hookPlace) mood() answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer
}

// ServeHTTP implements http.Handler.
func (p *hookPlace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	messages, err := readBatch(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway) // cut on its way; it comes again
		return
	}
	switch p.mood() {
	case busy:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case limited:
		http.Error(w, "too many", http.StatusTooManyRequests)
	case broken:
		http.Error(w, "oops", http.StatusInternalServerError)
	case refuses:
		if len(messages) == 1 {
			p.keep(r.RemoteAddr, messages, p.refuse)
		}
		http.Error(w, "never", http.StatusBadRequest)
	case mute:
		p.keep(r.RemoteAddr, messages, p.book.take)
		panic(http.ErrAbortHandler) // the connection breaks
	default:
		p.keep(r.RemoteAddr, messages, p.book.take)
	}
}

// refuse refuses a message for good, as one that came alone is understood.
func (p *hookPlace) refuse(message []byte) (id string) {
	var m struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(message, &m); err == nil && m.ID != "" {
		p.book.refuse(m.ID)
	}
	return m.ID
}

// keep notes messages. Until its client has the answer, it does not know what became of them.
func (p *hookPlace) keep(client string, messages []json.RawMessage, note func([]byte) (id string)) {
	var ids []string
	for _, m := range messages {
		if id := note(m); id != "" {
			ids = append(ids, id)
		}
	}
	p.book.unheard(ids)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[client] = ids
}

// last is what a client sent last, to be asked for once.
func (p *hookPlace) last(client string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := p.asked[client]
	delete(p.asked, client)
	return ids
}

func (p *hookPlace) watch(client string) watcher { return &listening{place: p, client: client} }

// listening finds out which answers reach their client.
type listening struct {
	place  *hookPlace
	client string

	mu    sync.Mutex
	clear bool      // an answer that says what became of it is on its way
	heard []string  // the ids of what was answered last
	at    time.Time // when
}

var _ watcher = (*listening)(nil)

// breath is how long an answer may take from the gate into the hands of its client.
const breath = time.Second

func (l *listening) toServer([]byte) {}

func (l *listening) toClient(p []byte) {
	l.clear = bytes.HasPrefix(p, []byte("HTTP/1.1 200 ")) || bytes.HasPrefix(p, []byte("HTTP/1.1 400 "))
}

func (l *listening) gaveClient() {
	if !l.clear {
		return
	}
	ids := l.place.last(l.client)
	l.place.book.hear(ids)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard, l.at = ids, time.Now()
}

func (l *listening) broke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) < breath {
		l.place.book.unheard(l.heard)
	}
}

// readBatch reads a body: a JSON array, perhaps compressed.
func readBatch(r *http.Request) (messages []json.RawMessage, err error) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	}
	return messages, json.NewDecoder(body).Decode(&messages)
}

func (p *hookPlace) close() {
	p.gate.close()
	p.server.Close()
	<-p.ended
}
