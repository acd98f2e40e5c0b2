package http_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sinks"
	"sightline/sinks/http"
	"sightline/sinks/sinktest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// arrival is one request as the server got it.
type arrival struct {
	header nethttp.Header
	path   string
	body   []byte   // as sent
	ids    []string // of results and events in it
	all    []json.RawMessage
}

// hook is a web server and a sink that posts to it.
type hook struct {
	*httptest.Server
	sink    *http.Sink
	network *network
	log     bytes.Buffer
	schemas sinktest.Schemas
	// answer decides on a request; nil: 204.
	answer func(w nethttp.ResponseWriter, a arrival)

	mu   sync.Mutex
	list []arrival
}

func newHook(t *testing.T, c sinks.HTTP) *hook { return startHook(t, c, (*httptest.Server).Start) }

func startHook(t *testing.T, c sinks.HTTP, start func(*httptest.Server)) *hook {
	h := &hook{network: &network{}, schemas: sinktest.Compile(t)}
	h.Server = httptest.NewUnstartedServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) { h.serve(t, w, r) }))
	h.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	start(h.Server)
	t.Cleanup(h.Server.Close)
	c.URL = h.Server.URL + c.URL
	h.sink = &http.Sink{Config: c}
	return h
}

func (h *hook) serve(t *testing.T, w nethttp.ResponseWriter, r *nethttp.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off: nothing of it counts
	}
	a := arrival{header: r.Header, path: r.URL.RequestURI(), body: body}
	a.all = objects(t, r.Header, body)
	for _, object := range a.all {
		if id := h.check(t, object); id != "" {
			a.ids = append(a.ids, id)
		}
	}
	if h.answer != nil {
		h.answer(w, a)
		return
	}
	h.keep(a)
	w.WriteHeader(nethttp.StatusNoContent)
}

func (h *hook) keep(a arrival) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, a)
}

func (h *hook) arrivals() []arrival {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// ids are those of results and events that the server has, in their order.
func (h *hook) ids() (list []string) {
	for _, a := range h.arrivals() {
		list = append(list, a.ids...)
	}
	return list
}

// objects are the messages in a body.
func objects(t *testing.T, header nethttp.Header, body []byte) (list []json.RawMessage) {
	if header.Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Errorf("unpack: %v", err)
			return nil
		}
		if body, err = io.ReadAll(r); err != nil {
			t.Errorf("unpack: %v", err)
		}
	}
	if header.Get("Content-Type") == "application/x-ndjson" {
		for line := range bytes.Lines(body) {
			list = append(list, json.RawMessage(line))
		}
		return list
	}
	if header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", header.Get("Content-Type"))
	}
	if err := json.Unmarshal(body, &list); err != nil {
		t.Errorf("%v\n%s", err, body)
	}
	return list
}

// check holds an object against the schema of its kind and returns its id, if it has one.
func (h *hook) check(t *testing.T, object json.RawMessage) string {
	var members map[string]any
	if err := json.Unmarshal(object, &members); err != nil {
		t.Errorf("%v: %s", err, object)
		return ""
	}
	schema := h.schemas.Result
	if _, ok := members["event"]; ok {
		schema = h.schemas.Event
	} else if _, ok := members["state"]; ok {
		schema = h.schemas.Status
	}
	if err := schema.Validate(any(members)); err != nil {
		t.Errorf("%v: %s", err, object)
	}
	id, _ := members["id"].(string)
	return id
}

func (h *hook) env() pipeline.Env {
	return pipeline.Env{
		Device: sinktest.Device, Stage: "hook", Log: slog.New(slog.NewTextHandler(&h.log, nil)), Stats: pipeline.NewStats(),
		Network: h.network, Report: func(pipeline.Status) {},
	}
}

func (h *hook) open(t *testing.T) {
	t.Helper()
	if err := h.sink.Open(t.Context(), h.env()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.sink.Close(context.Background()) })
}

func (h *hook) deliver(t *testing.T, messages ...pipeline.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return h.sink.Deliver(ctx, messages)
}

func results(from, to uint64) (list []pipeline.Message) {
	for i := from; i <= to; i++ {
		list = append(list, pipeline.Message{Result: sinktest.Result("gate", i, "car")})
	}
	return list
}

// network is a stage's network that tests can cut.
type network struct {
	mu    sync.Mutex
	shut  bool
	conns []net.Conn
	dials []string
}

var errCut = errors.New("the test has cut the network")

func (n *network) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, address)
	if n.shut {
		return nil, errCut
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, kind, address)
	if err == nil {
		n.conns = append(n.conns, c)
	}
	return c, err
}

func (n *network) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, pipeline.ErrNotGranted
}

func (n *network) set(shut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shut = shut
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dials)
}

func TestContract(t *testing.T) {
	for name, c := range map[string]sinks.HTTP{
		"an array":           {URL: "/"},
		"lines, compressed":  {URL: "/", Format: sinks.FormatNDJSON, Gzip: true},
		"three in a request": {URL: "/", Batch: 3},
	} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.SinkSuite(t, func(t *testing.T) pipelinetest.Upstream {
				h := newHook(t, c)
				return pipelinetest.Upstream{
					Sink: h.sink, Network: h.network, Received: h.ids,
					Break: func(*testing.T) func() {
						h.network.set(true)
						return func() { h.network.set(false) }
					},
				}
			})
		})
	}
}

func TestABodySaysWhatItIs(t *testing.T) {
	h := newHook(t, sinks.HTTP{URL: "/a/b?c=d", Headers: map[string]string{"x-site": "north gate"}})
	h.open(t)
	since := time.Now()
	messages := append(results(1, 1), pipeline.Message{Event: sinktest.Event("gate", 2, pipeline.EventEnd)},
		pipeline.Message{Status: &pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateOffline, Since: since}})
	if err := h.deliver(t, messages...); err != nil {
		t.Fatal(err)
	}
	list := h.arrivals()
	if len(list) != 1 || len(list[0].all) != 3 || !slices.Equal(list[0].ids, []string{"porch-gate-1", "porch-gate-1-event-2"}) {
		t.Fatalf("%+v", list)
	}
	a := list[0]
	if a.path != "/a/b?c=d" || a.header.Get("X-Site") != "north gate" || a.header.Get("User-Agent") != "Sightline" {
		t.Errorf("%s, %v", a.path, a.header)
	}
	if a.header.Get("Authorization") != "" || a.header.Get(http.SignatureHeader) != "" {
		t.Errorf("headers that nobody asked for: %v", a.header)
	}
	key := a.header.Get("Idempotency-Key")
	if err := h.deliver(t, messages...); err != nil {
		t.Fatal(err)
	}
	if again := h.arrivals()[1].header.Get("Idempotency-Key"); len(key) != 32 || again != key {
		t.Errorf("keys %q, then %q", key, again)
	}
	if err := h.deliver(t, results(2, 2)...); err != nil || h.arrivals()[2].header.Get("Idempotency-Key") == key {
		t.Errorf("another body has the same key, %v", err)
	}
	if n := h.network.count(); n != 1 {
		t.Errorf("%d connections for three requests", n)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	for _, format := range []string{sinks.FormatJSON, sinks.FormatNDJSON} {
		h := newHook(t, sinks.HTTP{Format: format, Batch: 10, MaxBytes: 6000})
		h.open(t)
		messages := results(1, 55)
		messages[20].Result.Predictions[0].Class = strings.Repeat("x", 900)
		large := sinktest.Result("gate", 56, "car")
		for i := range 60 {
			large.Predictions = append(large.Predictions, pipeline.Prediction{Class: strings.Repeat("y", 900), ClassID: i})
		}
		if err := h.deliver(t, append(messages, pipeline.Message{Result: large})...); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := 1; i <= 56; i++ {
			want = append(want, fmt.Sprintf("porch-gate-%d", i))
		}
		if got := h.ids(); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		for _, a := range h.arrivals() {
			if len(a.ids) > 10 || len(a.body) > 6000 && len(a.ids) > 1 {
				t.Errorf("a body of %d messages and %d bytes", len(a.ids), len(a.body))
			}
		}
	}
}

// verified checks a signature as a receiver does.
func verified(header string, body, key []byte) bool {
	stamp, signature, _ := strings.Cut(header, ",")
	at, ok := strings.CutPrefix(stamp, "t=")
	hash, ok2 := strings.CutPrefix(signature, "v1=")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !ok || !ok2 || err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	got, err := hex.DecodeString(hash)
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s", at, body)
	return err == nil && hmac.Equal(got, mac.Sum(nil))
}

func TestTokenAndSignature(t *testing.T) {
	const token, key = "t0ken-geheim", "schluessel-geheim"
	for _, gzip := range []bool{false, true} {
		files := map[string]string{"token": token + "\n", "key": key + "\n"}
		h := newHook(t, sinks.HTTP{URL: "/", Gzip: gzip, TokenFile: "token", HMAC: sinks.HMAC{SecretFile: "key"}})
		env := h.env()
		env.ReadFile = func(name string) ([]byte, error) { return []byte(files[name]), nil }
		if err := h.sink.Open(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		if err := h.deliver(t, results(1, 3)...); err != nil {
			t.Fatal(err)
		}
		a := h.arrivals()[0]
		if got := a.header.Get("Authorization"); got != "Bearer "+token {
			t.Errorf("authorization %q", got)
		}
		signature := a.header.Get(http.SignatureHeader)
		if !verified(signature, a.body, []byte(key)) {
			t.Errorf("signature %q does not fit", signature)
		}
		if verified(signature, append(a.body, ' '), []byte(key)) || verified(signature, a.body, []byte("other")) {
			t.Error("a signature fits what it does not sign")
		}
		files["token"] = "renewed"
		if err := h.deliver(t, results(4, 4)...); err != nil || h.arrivals()[1].header.Get("Authorization") != "Bearer renewed" {
			t.Errorf("a renewed token is not used: %v", err)
		}
		if text := h.log.String(); strings.Contains(text, "geheim") {
			t.Errorf("a secret is in the log: %s", text)
		}
	}
	h := newHook(t, sinks.HTTP{URL: "/", Token: pipeline.NewSecret(token), TokenHeader: "x-api-key", HMAC: sinks.HMAC{Secret: pipeline.NewSecret(key)}})
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err != nil {
		t.Fatal(err)
	}
	a := h.arrivals()[0]
	if a.header.Get("X-Api-Key") != token || a.header.Get("Authorization") != "" || !verified(a.header.Get(http.SignatureHeader), a.body, []byte(key)) {
		t.Errorf("%v", a.header)
	}
}

func TestConfigurationThatCannotWorkIsPermanent(t *testing.T) {
	for name, c := range map[string]struct {
		config sinks.HTTP
		want   string
	}{
		"no host":                   {sinks.HTTP{URL: "https://"}, "has no host"},
		"another scheme":            {sinks.HTTP{URL: "ftp://127.0.0.1"}, "only https:// and http://"},
		"a user in the address":     {sinks.HTTP{URL: "https://u:geheim@127.0.0.1"}, "holds a user"},
		"an address not to parse":   {sinks.HTTP{URL: "https://u:geheim@127.0.0.1:x y"}, "has no host"},
		"certificates without tls":  {sinks.HTTP{URL: "http://127.0.0.1", CAFile: "x"}, "need an address"},
		"a certificate alone":       {sinks.HTTP{URL: "https://127.0.0.1", CertFile: "x"}, "go together"},
		"a missing authority":       {sinks.HTTP{URL: "https://127.0.0.1", CAFile: "/none"}, "read ca_file"},
		"a missing token":           {sinks.HTTP{URL: "https://127.0.0.1", TokenFile: "/none"}, "read token_file"},
		"a missing key":             {sinks.HTTP{URL: "https://127.0.0.1", HMAC: sinks.HMAC{SecretFile: "/none"}}, "read secret_file"},
		"a token of several lines":  {sinks.HTTP{URL: "https://127.0.0.1", Token: pipeline.NewSecret("geheim\r\nx: y")}, "no header may have"},
		"a form that there is none": {sinks.HTTP{URL: "https://127.0.0.1", Format: "xml"}, "only json and ndjson"},
	} {
		h := newHook(t, sinks.HTTP{})
		h.sink.Config = c.config
		err := h.sink.Open(t.Context(), h.env())
		if !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want a permanent error that says %q", name, err, c.want)
		}
	}
	env := newHook(t, sinks.HTTP{}).env()
	env.Network = nil
	if err := (&http.Sink{Config: sinks.HTTP{URL: "https://127.0.0.1"}}).Open(t.Context(), env); !pipeline.IsPermanent(err) {
		t.Errorf("open without a network: %v, want a permanent error", err)
	}
}
