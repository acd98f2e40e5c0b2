package http_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/http"
	"sightline/sinks/sinktest"
)

func TestWhatAnAnswerMeans(t *testing.T) {
	const good, refused, again = "good", "refused", "again"
	for code, want := range map[int]string{
		200: good, 201: good, 202: good, 204: good, 299: good,
		301: again, 302: again, 307: again, 304: again,
		400: refused, 409: refused, 413: refused, 415: refused, 422: refused, 431: refused, 499: refused,
		401: again, 403: again, 404: again, 405: again, 407: again, 408: again, 410: again, 421: again, 423: again, 425: again, 429: again,
		500: again, 502: again, 503: again, 504: again, 599: again, 999: again,
	} {
		h := newHook(t, sinks.HTTP{URL: "/T000/B000/geheim"})
		h.answer = func(w nethttp.ResponseWriter, _ arrival) {
			w.Header().Set("Location", "https://elsewhere.example.com/geheim")
			w.WriteHeader(code)
			if code != 204 && code != 304 {
				io.WriteString(w, "line one\n\x1b[31mtoken=geheim line two "+strings.Repeat("x", 1000))
			}
		}
		h.open(t)
		err := h.deliver(t, results(1, 2)...)
		got := good
		if err != nil {
			got = again
		}
		if pipeline.IsPermanent(err) {
			got = refused
		}
		if got != want {
			t.Errorf("%d: %s, want %s: %v", code, got, want, err)
		}
		if err == nil {
			continue
		}
		text := err.Error()
		if strings.Contains(text, "geheim") || strings.ContainsAny(text, "\n\x1b") || len(text) > 500 || !strings.Contains(text, fmt.Sprint(code)) {
			t.Errorf("%d: %q", code, text)
		}
		if code/100 == 3 && code != 304 && !strings.Contains(text, `"elsewhere.example.com"`) {
			t.Errorf("%d does not say where to: %q", code, text)
		}
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	h := newHook(t, sinks.HTTP{Timeout: patience})
	h.sink.Patience = 300 * time.Millisecond // instead of what the server asks for
	var at []time.Time
	h.answer = func(w nethttp.ResponseWriter, a arrival) {
		at = append(at, time.Now())
		if len(at) == 1 {
			w.Header().Set("Retry-After", "100000")
			w.WriteHeader(nethttp.StatusServiceUnavailable)
			return
		}
		h.keep(a)
	}
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err == nil || pipeline.IsPermanent(err) {
		t.Fatalf("%v, want an error that may be tried again", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.sink.Deliver(ended, results(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with an ended context: %v", err)
	}
	if err := h.deliver(t, results(1, 1)...); err != nil {
		t.Fatal(err)
	}
	if len(at) != 2 || at[1].Sub(at[0]) < 250*time.Millisecond {
		t.Errorf("requests at %v", at)
	}
}

func TestAServerThatWantsToBeLeftAloneForLongIsSaidSo(t *testing.T) {
	h := newHook(t, sinks.HTTP{Timeout: patience})
	h.answer = func(w nethttp.ResponseWriter, _ arrival) {
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(nethttp.TimeFormat))
		w.WriteHeader(nethttp.StatusTooManyRequests)
	}
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err == nil || !strings.Contains(err.Error(), "429 Too Many Requests") {
		t.Fatal(err)
	}
	h.sink.Close(t.Context()) // opened anew, it asks again
	h.answer = nil
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err != nil {
		t.Error(err)
	}
}

// Of a delivery that breaks off, only what the server does not have comes again.
func TestWhatTheServerHasDoesNotComeAgain(t *testing.T) {
	h := newHook(t, sinks.HTTP{Batch: 2})
	n := 0
	h.answer = func(w nethttp.ResponseWriter, a arrival) {
		if n++; n == 3 {
			w.WriteHeader(nethttp.StatusBadGateway)
			return
		}
		h.keep(a)
	}
	h.open(t)
	batch := results(1, 8)
	if err := h.deliver(t, batch...); err == nil || pipeline.IsPermanent(err) {
		t.Fatal(err)
	}
	if err := h.deliver(t, batch...); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := 1; i <= 8; i++ {
		want = append(want, fmt.Sprintf("porch-gate-%d", i))
	}
	if got := h.ids(); !slices.Equal(got, want) {
		t.Errorf("the server has %q", got)
	}
	if err := h.deliver(t, batch[:1]...); err != nil || len(h.ids()) != 9 {
		t.Errorf("a delivery after it: %v, %q", err, h.ids())
	}
}

// raw is a server that answers each connection as a script says.
func raw(t *testing.T, script func(net.Conn)) *http.Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				script(conn)
			}()
		}
	}()
	s := &http.Sink{Config: sinks.HTTP{URL: "http://" + l.Addr().String() + "/geheim", Timeout: 2 * time.Second}}
	if err := s.Open(t.Context(), (&hook{network: &network{}}).env()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// request reads a request with a body.
func request(conn net.Conn) {
	buffer := make([]byte, 64<<10)
	for text := ""; !strings.HasSuffix(text, "]"); {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		text += string(buffer[:n])
	}
}

func TestHostileAnswersDoNoHarm(t *testing.T) {
	forever := func(conn net.Conn, text string) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		script func(net.Conn)
		want   string // empty: the messages count as taken
	}{
		"an endless body of a good answer": {func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			forever(conn, strings.Repeat("x", 1000))
		}, ""},
		"a body that does not come": {func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			io.Copy(io.Discard, conn)
		}, ""},
		"an endless body of a bad answer": {func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 503 No\r\n\r\n")
			forever(conn, strings.Repeat("x", 1000))
		}, "503 Service Unavailable"},
		"an endless header":        {func(conn net.Conn) { forever(conn, "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("x", 1000)) }, "header"},
		"endless header lines":     {func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\n"); forever(conn, "X-A: b\r\n") }, "header"},
		"endless early answers":    {func(conn net.Conn) { forever(conn, "HTTP/1.1 100 Continue\r\n\r\n") }, "exceeded 16384 bytes"},
		"a header that never ends": {func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nX"); io.Copy(io.Discard, conn) }, "no answer in time"},
		"nothing":                  {func(conn net.Conn) { io.Copy(io.Discard, conn) }, "no answer in time"},
		"garbage":                  {func(conn net.Conn) { io.WriteString(conn, "\x00\xff\x00\xff\r\n\r\n") }, "malformed HTTP"},
		"another protocol":         {func(conn net.Conn) { io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n") }, "malformed HTTP"},
		"the end at once":          {func(net.Conn) {}, ""},
		"a status that is none":    {func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 99999 OK\r\n\r\n") }, "malformed HTTP"},
		"another protocol, please": {func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n") }, "101"},
		"two lengths": {func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
		}, "Content-Length"},
		"a redirect to nowhere": {func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 302 Found\r\nLocation: ://\r\n\r\n") }, "somewhere else"},
		"a wait until the sun goes": {func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\n\r\n")
		}, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := raw(t, func(conn net.Conn) { request(conn); c.script(conn) })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := s.Deliver(ctx, results(1, 1))
			switch {
			case name == "the end at once":
				if err == nil || pipeline.IsPermanent(err) {
					t.Errorf("%v, want an error that may be tried again", err)
				}
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || pipeline.IsPermanent(err) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want an error that may be tried again and says %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "geheim") || len(err.Error()) > 600) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	h := startHook(t, sinks.HTTP{URL: "/"}, (*httptest.Server).StartTLS)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	if err := os.WriteFile(authority, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err == nil || pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "authority that ca_file does not name") {
		t.Errorf("an unknown authority: %v", err)
	}
	h.sink.Close(t.Context())
	h.sink.Config.CAFile = authority
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err != nil {
		t.Error(err)
	}
	if a := h.arrivals(); len(a) != 1 {
		t.Errorf("%d requests", len(a))
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	strict := startHook(t, sinks.HTTP{URL: "/", CAFile: authority}, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		s.StartTLS()
	})
	strict.open(t)
	if err := strict.deliver(t, results(1, 1)...); err == nil || pipeline.IsPermanent(err) {
		t.Errorf("without a client certificate: %v", err)
	}
}

func TestOnlyTheGrantedAddressIsDialled(t *testing.T) {
	h := newHook(t, sinks.HTTP{URL: "/"})
	h.answer = func(w nethttp.ResponseWriter, _ arrival) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(nethttp.StatusTemporaryRedirect)
	}
	h.open(t)
	if err := h.deliver(t, results(1, 1)...); err == nil {
		t.Error("a redirect counts as taken")
	}
	want := strings.TrimPrefix(h.Server.URL, "http://")
	for _, address := range h.network.dials {
		if address != want {
			t.Errorf("dialled %s", address)
		}
	}
}

func TestAStageGoesOnPastWhatIsRefused(t *testing.T) {
	h := newHook(t, sinks.HTTP{})
	h.answer = func(w nethttp.ResponseWriter, a arrival) {
		if slices.Contains(a.ids, "porch-gate-3") {
			w.WriteHeader(nethttp.StatusUnprocessableEntity)
			return
		}
		h.keep(a)
	}
	h.open(t)
	batch := results(1, 5)
	if err := h.deliver(t, batch...); !pipeline.IsPermanent(err) {
		t.Fatal(err)
	}
	for i := range batch { // one by one, as a publish stage does
		err := h.deliver(t, batch[i])
		if pipeline.IsPermanent(err) != (batch[i].Result.ID == sinktest.Result("gate", 3, "").ID) {
			t.Errorf("%s: %v", batch[i].Result.ID, err)
		}
	}
	if n := len(h.ids()); n != 4 {
		t.Errorf("the server has %d", n)
	}
}
