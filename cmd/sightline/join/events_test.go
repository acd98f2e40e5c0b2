package join

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/web"
)

// ear is a log that can be waited at.
type ear chan string

// Write implements io.Writer.
func (e ear) Write(p []byte) (int, error) {
	select {
	case e <- string(p):
	default:
	}
	return len(p), nil
}

// hear waits for a line of the log.
func (e ear) hear(t *testing.T, part string) {
	t.Helper()
	patience := time.After(time.Minute)
	for {
		select {
		case line := <-e:
			if strings.Contains(line, part) {
				return
			}
		case <-patience:
			t.Fatalf("the log does not say %q", part)
		}
	}
}

func TestWhatIsKnownOfEventsIsKeptOnceTheDiskTakesIt(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "events")
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // where the folder is to be, so nothing can be kept
		t.Fatal(err)
	}
	log := make(ear, 1000)
	s := &Site{Board: &web.Board{}, Log: slog.New(slog.NewTextHandler(log, nil)), State: dir}
	s.prepare()
	begin(s, nil)
	say(t, s, "car", 1, 4)
	if got, want := queued(t, s), []string{"1", "2", "new car", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("%q wait, want %q: an event goes out though it cannot be kept", got, want)
	}
	log.hear(t, "is not kept")
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	log.hear(t, "is kept again") // without another event
	// The program is killed.
	copied := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	next := site(t, copied, nil)
	say(t, next, "person", 5, 8)
	if got := queued(t, next); !slices.Contains(got, "end car") {
		t.Errorf("%q wait: the event of before does not end", got)
	}
	for _, one := range []*Site{s, next} {
		if err := one.Close(); err != nil {
			t.Error(err)
		}
	}
}
