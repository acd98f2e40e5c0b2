package catalogue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sightline/pipeline"
)

// content is a file that no one can guess, large enough for several reads.
func content() []byte {
	b := make([]byte, 1<<20+12345)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(b)
	return b
}

func entryOf(file []byte) Entry {
	sum := sha256.Sum256(file)
	return Entry{
		Name: "tiny", Summary: "for tests", Zoo: "zoo/tiny-7.onnx", Licence: "MIT", Accuracy: "none",
		Size: int64(len(file)), SHA256: hex.EncodeToString(sum[:]), input: torchvision,
	}
}

// mirror is a server whose answers a test decides: the n-th request, counted from 1.
type mirror struct {
	*httptest.Server
	requests atomic.Int64
	ranges   chan string
}

func serve(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request)) *mirror {
	t.Helper()
	m := &mirror{ranges: make(chan string, 100)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.ranges <- r.Header.Get("Range")
		answer(m.requests.Add(1), w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// whole answers as a good server does.
func whole(file []byte) func(int64, http.ResponseWriter, *http.Request) {
	return func(_ int64, w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "tiny.onnx", time.Time{}, bytes.NewReader(file))
	}
}

// cut promises all of the file, and ends the connection after some of it.
func cut(w http.ResponseWriter, file []byte, from, to int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(file)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(file[from:to])
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func puller(t *testing.T, from string) *Puller {
	return &Puller{
		Store: Store{Folder: filepath.Join(t.TempDir(), "store")}, From: from,
		Backoff: pipeline.Backoff{Least: time.Millisecond, Most: time.Millisecond},
	}
}

// partOf is where a pull keeps what it has.
func partOf(s Store, e Entry) string {
	return filepath.Join(s.Folder, "."+e.Name+"."+e.SHA256[:12]+".part")
}

func mustPull(t *testing.T, p *Puller, e Entry, file []byte) Pulled {
	t.Helper()
	done, err := p.Pull(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	there(t, p.Store, e, file)
	return done
}

// there checks that the store has the model with card and labels, and nothing else.
func there(t *testing.T, s Store, e Entry, file []byte) {
	t.Helper()
	for name, want := range map[string][]byte{e.Name + ".onnx": file, e.Name + ".yaml": e.Card(), e.LabelsFile(): e.Labels()} {
		got, err := os.ReadFile(filepath.Join(s.Folder, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes, want %d (%v)", name, len(got), len(want), err)
		}
	}
	if left := names(t, s); len(left) != 3 {
		t.Errorf("the store has %v", left)
	}
}

func names(t *testing.T, s Store) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(s.Folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestAModelIsPulledWithItsCardAndItsLabels(t *testing.T) {
	file := content()
	e := entryOf(file)
	m := serve(t, whole(file))
	p := puller(t, m.URL)
	var steps []Progress
	p.Report = func(step Progress) { steps = append(steps, step) }
	if done := mustPull(t, p, e, file); done.Already || done.Path != p.Store.Path("tiny") || len(done.Kept) != 0 {
		t.Errorf("it did %+v", done)
	}
	if !slices.IsSortedFunc(steps, func(a, b Progress) int { return int(a.Done - b.Done) }) || steps[len(steps)-1] != (Progress{Done: e.Size, Total: e.Size}) {
		t.Errorf("the steps are %v", steps)
	}
	asked := m.requests.Load()
	if done := mustPull(t, p, e, file); !done.Already || m.requests.Load() != asked {
		t.Errorf("the second pull did %+v and asked %d times", done, m.requests.Load()-asked)
	}
}

func TestAnInterruptedPullGoesOn(t *testing.T) {
	file := content()
	e := entryOf(file)
	half := len(file) / 2
	tests := []struct {
		name   string
		answer func(n int64, w http.ResponseWriter, r *http.Request)
		second string // range of the second request
	}{
		{"with a range", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				cut(w, file, 0, half)
			}
			whole(file)(n, w, r)
		}, fmt.Sprintf("bytes=%d-", half)},
		{"though the server ignores ranges", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				cut(w, file, 0, half)
			}
			r.Header.Del("Range")
			whole(file)(n, w, r)
		}, fmt.Sprintf("bytes=%d-", half)},
		{"though the server starts before the range", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				cut(w, file, 0, half)
			}
			r.Header.Set("Range", "bytes=100-")
			whole(file)(n, w, r)
		}, fmt.Sprintf("bytes=%d-", half)},
		{"after a busy server", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			whole(file)(n, w, r)
		}, ""},
		{"after a server that ended too early, without saying how much there is", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				http.NewResponseController(w).Flush() // chunked
				w.Write(file[:half])
				return
			}
			whole(file)(n, w, r)
		}, fmt.Sprintf("bytes=%d-", half)},
		{"after many cuts", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n <= 20 {
				cut(w, file, int(n-1)*1000, int(n)*1000)
			}
			whole(file)(n, w, r)
		}, "bytes=1000-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := serve(t, tt.answer)
			mustPull(t, puller(t, m.URL), e, file)
			if first, second := <-m.ranges, <-m.ranges; first != "" || second != tt.second {
				t.Errorf("ranges %q and %q, want none and %q", first, second, tt.second)
			}
		})
	}
}

func TestAnotherPullGoesOnWhereOneWasEnded(t *testing.T) {
	file := content()
	e := entryOf(file)
	m := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			whole(file)(n, w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		w.Write(file[:300_000])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	p := puller(t, m.URL)
	ctx, end := context.WithCancel(t.Context())
	p.Report = func(step Progress) {
		if step.Done == 300_000 {
			end()
		}
	}
	if _, err := p.Pull(ctx, e); err == nil || !strings.Contains(err.Error(), "pull again to go on") {
		t.Fatalf("the pull that was ended: %v", err)
	}
	if left := names(t, p.Store); len(left) != 1 || !strings.HasSuffix(left[0], ".part") {
		t.Fatalf("the store has %v", left)
	}
	p.Report = nil
	mustPull(t, p, e, file)
	if first, second := <-m.ranges, <-m.ranges; first != "" || second != "bytes=300000-" {
		t.Errorf("ranges %q and %q", first, second)
	}
}

func TestAStalledServerIsGivenUp(t *testing.T) {
	file := content()
	m := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			whole(file)(n, w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		w.Write(file[:1000])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	p := puller(t, m.URL)
	p.Stall = 50 * time.Millisecond
	var notes []string
	p.Report = func(step Progress) { notes = append(notes, step.Note) }
	mustPull(t, p, entryOf(file), file)
	if !strings.Contains(strings.Join(notes, "\n"), "nothing came any more") {
		t.Errorf("it said %q", notes)
	}
}

func TestADamagedPartIsFetchedAnew(t *testing.T) {
	file := content()
	e := entryOf(file)
	parts := map[string][]byte{
		"a part of something else":   bytes.Repeat([]byte("x"), 4000),
		"as many bytes, wrong ones":  make([]byte, len(file)),
		"more bytes than there are":  make([]byte, len(file)+1),
		"all of it, only not named":  file,
		"nothing":                    {},
		"one wrong byte near an end": append(bytes.Clone(file[:9999]), file[9999]+1),
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			p := puller(t, serve(t, whole(file)).URL)
			if err := os.MkdirAll(p.Store.Folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(partOf(p.Store, e), part, 0o600); err != nil {
				t.Fatal(err)
			}
			mustPull(t, p, e, file)
		})
	}
}

func TestWhatIsNotTheModelIsRefused(t *testing.T) {
	file := content()
	e := entryOf(file)
	other := bytes.Clone(file)
	other[77]++
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + e.SHA256 + "\nsize 1\n"
	say := func(text string, headers ...string) func(int64, http.ResponseWriter, *http.Request) {
		return func(_ int64, w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.Write([]byte(text))
		}
	}
	status := func(code int) func(int64, http.ResponseWriter, *http.Request) {
		return func(_ int64, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
	}
	tests := []struct {
		name     string
		answer   func(int64, http.ResponseWriter, *http.Request)
		requests int64 // 0: any number
		want     string
	}{
		{"another file of its size", whole(other), 1, "the catalogue says " + e.SHA256},
		{"a shorter file", whole(file[:len(file)-1]), 1, fmt.Sprintf("it has %d bytes, the catalogue says %d", len(file)-1, len(file))},
		{"a longer file", whole(append(bytes.Clone(file), 0)), 1, fmt.Sprintf("it has %d bytes", len(file)+1)},
		{"a longer file that does not say its length", func(_ int64, w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			w.Write(append(bytes.Clone(file), 0))
		}, 1, "more bytes"},
		{"bytes without end", func(_ int64, w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(file); err != nil {
					return
				}
			}
		}, 1, "more bytes"},
		{"a pointer of Git LFS", say(pointer), 1, "git lfs pull"},
		{"a web page", say("\n<!DOCTYPE html><html>", "Content-Type", "text/html"), 1, "a web page"},
		{"nothing at all", status(http.StatusNotFound), 3, "tiny-7.onnx elsewhere (SHA-256 " + e.SHA256},
		{"something that is gone", status(http.StatusGone), 3, "410 Gone"},
		{"a closed door", status(http.StatusForbidden), 1, "403 Forbidden"},
		{"a server in ruins", status(http.StatusInternalServerError), 4, "given up after 4 tries"},
		{"a range that was not asked for", func(_ int64, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, 1, "206"},
		{"an answer that is nonsense", func(_ int64, w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			c.Write([]byte("HELLO?\r\n\r\n"))
			c.Close()
		}, 4, "given up"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := serve(t, tt.answer)
			p := puller(t, m.URL)
			p.Tries = 4
			_, err := p.Pull(t.Context(), e)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if n := m.requests.Load(); tt.requests != 0 && n != tt.requests {
				t.Errorf("it asked %d times, want %d", n, tt.requests)
			}
			if left := names(t, p.Store); len(left) != 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// offline is a machine without the internet.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
}

func TestWithoutTheInternetAMirrorIsProposed(t *testing.T) {
	e := entryOf(content())
	for from, proposed := range map[string]bool{"": true, "http://mirror.example.com": false} {
		p := puller(t, from)
		p.Tries, p.Transport = 2, offline{}
		_, err := p.Pull(t.Context(), e)
		if err == nil || !strings.Contains(err.Error(), "given up after 2 tries") || strings.Contains(err.Error(), "--from") != proposed {
			t.Errorf("from %q: %v", from, err)
		}
		if err != nil && strings.Contains(err.Error(), "is kept") {
			t.Errorf("from %q, nothing is there to be kept: %v", from, err)
		}
	}
}

func TestAWrongRangeInTheMiddleIsRefused(t *testing.T) {
	file := content()
	for _, header := range []string{"bytes 2000-1048575/1060921", "bytes */1060921", "bytes 1000-2000/5", "", "bytes 1000-1060920/1060922"} {
		m := serve(t, func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				cut(w, file, 0, 1000)
			}
			w.Header().Set("Content-Range", header)
			w.WriteHeader(http.StatusPartialContent)
		})
		if _, err := puller(t, m.URL).Pull(t.Context(), entryOf(file)); err == nil || m.requests.Load() != 2 {
			t.Errorf("%q: %v after %d requests", header, err, m.requests.Load())
		}
	}
}

func TestRedirects(t *testing.T) {
	file := content()
	e := entryOf(file)
	plain := serve(t, whole(file))
	safe := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/good/"):
			http.Redirect(w, r, "/there?signature=secret", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/plain/"):
			http.Redirect(w, r, plain.URL+"/tiny.onnx?signature=secret", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/round/"):
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		case r.URL.Path == "/there":
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		}
	}))
	t.Cleanup(safe.Close)
	p := puller(t, safe.URL+"/good")
	p.Transport = safe.Client().Transport
	mustPull(t, p, e, file)
	for way, want := range map[string]string{"/plain": "redirects to plain http", "/round": "redirects without end"} {
		p := puller(t, safe.URL+way)
		p.Transport = safe.Client().Transport
		_, err := p.Pull(t.Context(), e)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", way, err, want)
		}
	}
	if plain.requests.Load() != 0 {
		t.Error("the plain server was asked")
	}
	_, err := puller(t, safe.URL+"/good").Pull(t.Context(), e)
	if err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "given up") {
		t.Errorf("a certificate that no one knows: %v", err)
	}
}

func TestNoPasswordIsShown(t *testing.T) {
	file := content()
	var sent atomic.Value
	m := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		sent.Store(password)
		http.Error(w, "no", http.StatusForbidden)
	})
	address := strings.Replace(m.URL, "://", "://me:hunter2@", 1) + "/x?token=hunter2"
	_, err := puller(t, address).Pull(t.Context(), entryOf(file))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("it says %v", err)
	}
	if sent.Load() != "hunter2" {
		t.Errorf("the server got the password %v", sent.Load())
	}
	for _, address := range []string{"https://me:hunter2@%zz/", "ftp://me:hunter2@host/"} {
		if _, err := puller(t, address).Pull(t.Context(), entryOf(file)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("it says %v", err)
		}
	}
}

func TestMirrors(t *testing.T) {
	file := content()
	e := entryOf(file)
	for _, place := range []string{"tiny.onnx", "tiny-7.onnx", "zoo/tiny-7.onnx"} {
		folder := t.TempDir()
		path := filepath.Join(folder, place)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.FileServer(http.Dir(folder)))
		t.Cleanup(server.Close)
		for _, from := range []string{folder, "file://" + folder, path, server.URL, server.URL + "/"} {
			mustPull(t, puller(t, from), e, file)
		}
	}
	wrong := t.TempDir()
	for name, content := range map[string]string{"pointer.onnx": "version https://git-lfs.github.com/spec/v1\n", "short.onnx": "x"} {
		if err := os.WriteFile(filepath.Join(wrong, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(wrong, "tiny.onnx"), 0o700); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		filepath.Join(wrong, "pointer.onnx"): "git lfs pull",
		filepath.Join(wrong, "short.onnx"):   "it has 1 bytes",
		filepath.Join(wrong, "none"):         "no such file",
		wrong:                                "not a regular file",
		t.TempDir():                          "has none of tiny.onnx, tiny-7.onnx, zoo/tiny-7.onnx",
		"ftp://host/":                        "not supported",
	}
	for from, want := range refused {
		if _, err := puller(t, from).Pull(t.Context(), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
}

func TestWhatIsThereIsNotOverwritten(t *testing.T) {
	file := content()
	e := entryOf(file)
	p := puller(t, serve(t, whole(file)).URL)
	if err := os.MkdirAll(p.Store.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(p.Store.Folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(p.Store.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write("tiny.onnx", "mine")
	write("tiny.yaml", "edited")
	if _, err := p.Pull(t.Context(), e); err == nil || !strings.Contains(err.Error(), "--replace") || read("tiny.onnx") != "mine" {
		t.Fatalf("another file of its name: %v", err)
	}
	if err := os.Remove(p.Store.Path("tiny")); err != nil {
		t.Fatal(err)
	}
	done, err := p.Pull(t.Context(), e)
	if err != nil || len(done.Kept) != 1 || read("tiny.yaml") != "edited" {
		t.Fatalf("an edited card: %+v, %v", done, err)
	}
	write("tiny.onnx", "mine")
	p.Replace = true
	mustPull(t, p, e, file)
}

func TestTwoPullsDoNotMix(t *testing.T) {
	file := content()
	e := entryOf(file)
	arrived, finish := make(chan struct{}), make(chan struct{})
	m := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		whole(file)(n, w, r)
	})
	p := puller(t, m.URL)
	first := make(chan error, 1)
	go func() { _, err := p.Pull(t.Context(), e); first <- err }()
	<-arrived
	if _, err := p.Pull(t.Context(), e); err == nil || !strings.Contains(err.Error(), "another pull") {
		t.Errorf("the second pull: %v", err)
	}
	close(finish)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	there(t, p.Store, e, file)
}

func TestADiskThatIsTooSmallIsSaidBefore(t *testing.T) {
	file := content()
	e := entryOf(file)
	e.Size = 1 << 60
	m := serve(t, whole(file))
	if _, err := puller(t, m.URL).Pull(t.Context(), e); err == nil || !strings.Contains(err.Error(), "SIGHTLINE_MODELS") || m.requests.Load() != 0 {
		t.Errorf("an exabyte: %v after %d requests", err, m.requests.Load())
	}
}

func FuzzContentRange(f *testing.F) {
	for _, text := range []string{"bytes 0-1/2", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes -1-2/3", "items 0-1/2", "bytes 0-99999999999999999999/1", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		start, size, err := contentRange(text)
		if err == nil && (start < 0 || size == 0 || size > 0 && start >= size) {
			t.Errorf("%q is from %d of %d", text, start, size)
		}
	})
}
