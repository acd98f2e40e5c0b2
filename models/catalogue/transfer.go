package catalogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sightline/pipeline"
)

// transfer brings the bytes of one model into its part.
type transfer struct {
	*Puller
	entry  Entry
	from   origin
	part   *part
	failed int // tries in a row that brought no new byte
}

// run returns when the whole file is there and is the right one.
func (t *transfer) run(ctx context.Context) error {
	if err := t.part.room(t.entry.Size); err != nil {
		return err
	}
	resumed := t.part.size > 0
	if resumed {
		t.say("going on after %s", bytesText(t.part.size))
	}
	err := t.fetch(ctx)
	if err == nil {
		err = t.verify()
	}
	var wrong *WrongFileError
	if !resumed || !errors.As(err, &wrong) {
		return err
	}
	t.say("what was there of it did not fit: starting anew") // written by a disk that lost it, or by someone else
	if err := t.fetch(ctx); err != nil {
		return err
	}
	return t.verify()
}

// WrongFileError says that what came is not the file of the catalogue.
type WrongFileError struct {
	From      string
	Got, Want string // SHA-256, or what else tells
}

// Error names both.
func (e *WrongFileError) Error() string {
	return fmt.Sprintf("what %s has is not the model: it has %s, the catalogue says %s", e.From, e.Got, e.Want)
}

// verify compares what lies on the disk. What is wrong is removed.
func (t *transfer) verify() error {
	got, err := t.part.digest()
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if got == t.entry.SHA256 {
		return nil
	}
	wrong := &WrongFileError{From: t.from.name(), Got: "the SHA-256 " + got, Want: t.entry.SHA256}
	return errors.Join(wrong, t.part.clear())
}

// fetch tries until every byte is there, and gives up after some tries in a row without a new one.
func (t *transfer) fetch(ctx context.Context) error {
	for t.part.size < t.entry.Size {
		before := t.part.size
		err := t.once(ctx)
		if err == nil {
			continue
		}
		if pipeline.IsPermanent(err) || ctx.Err() != nil {
			return ended(ctx, err)
		}
		if t.failed++; t.part.size > before {
			t.failed = 1
		}
		if t.failed >= t.tries() {
			return fmt.Errorf("given up after %d tries: %w (%s)", t.failed, err, t.wayOut())
		}
		wait := t.backoff().Wait(t.failed)
		if asked, ok := errors.AsType[*laterError](err); ok {
			wait = max(wait, min(asked.after, time.Minute))
		}
		t.say("%v; trying again in %s", err, wait.Round(100*time.Millisecond))
		if !pause(ctx, wait) {
			return ended(ctx, err)
		}
	}
	return nil
}

// wayOut says what can be done when the origin does not give the file.
func (t *transfer) wayOut() string {
	way := "pull again later"
	if t.part.size > 0 {
		way = "what is there is kept: pull again to go on"
	}
	if t.From == "" {
		way += "; without the internet --from takes the file from a folder or another address"
	}
	return way
}

// ended prefers to say that the caller ended it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (what is there is kept: pull again to go on)", context.Cause(ctx))
	}
	return err
}

// pause waits; false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errStalled = errors.New("nothing came any more")

// once opens the origin and takes what it gives.
func (t *transfer) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(t.stall(), func() { cancel(errStalled) })
	defer watch.Stop()
	body, start, err := t.from.open(ctx, t.part.size)
	if err != nil {
		return stalled(ctx, err)
	}
	defer body.Close()
	living := &alive{Reader: body, watch: watch, patience: t.stall()}
	if start < t.part.size { // it does not do ranges: what is there already comes again
		if _, err := io.CopyN(io.Discard, living, t.part.size-start); err != nil {
			return stalled(ctx, fmt.Errorf("read from %s: %w", t.from.name(), err))
		}
	}
	return t.take(ctx, living)
}

// take appends to the part and looks at the first bytes, and one beyond the last.
func (t *transfer) take(ctx context.Context, body io.Reader) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := body.Read(buffer)
		if t.part.size == 0 && n > 0 {
			if what := guise(buffer[:n]); what != "" {
				return t.wrong(what)
			}
		}
		if t.part.size+int64(n) > t.entry.Size {
			return errors.Join(t.wrong("more bytes"), t.part.clear())
		}
		if _, err := t.part.Write(buffer[:n]); err != nil {
			return pipeline.Permanent(fmt.Errorf("write what came: %w", err))
		}
		if n > 0 {
			t.report(t.part.size, t.entry.Size, "")
		}
		switch {
		case err == io.EOF && t.part.size < t.entry.Size:
			return fmt.Errorf("%s ended after %d of %d bytes", t.from.name(), t.part.size, t.entry.Size)
		case err == io.EOF:
			return nil
		case err != nil:
			return stalled(ctx, fmt.Errorf("read from %s: %w", t.from.name(), err))
		}
	}
}

func (t *transfer) wrong(what string) error {
	return pipeline.Permanent(&WrongFileError{From: t.from.name(), Got: what, Want: fmt.Sprintf("%d bytes", t.entry.Size)})
}

// guise knows what mirrors give instead of a model, by the first bytes of it; "" when it knows nothing.
func guise(first []byte) string {
	start := bytes.ToLower(bytes.TrimLeft(first[:min(len(first), guiseBytes)], " \r\n\t\ufeff"))
	switch {
	case bytes.HasPrefix(start, []byte("version https://git-lfs")):
		return "a pointer of Git LFS (run `git lfs pull` where it is)"
	case bytes.HasPrefix(start, []byte("<!doctype html")), bytes.HasPrefix(start, []byte("<html")):
		return "a web page"
	}
	return ""
}

const guiseBytes = 128

// wrongSize is the error that an origin has a file of another size, of which body is the content.
func wrongSize(name string, body io.Reader, size, want int64) error {
	what := fmt.Sprintf("%d bytes", size)
	if first, err := io.ReadAll(io.LimitReader(body, guiseBytes)); err == nil && guise(first) != "" {
		what = guise(first)
	}
	return pipeline.Permanent(&WrongFileError{From: name, Got: what, Want: fmt.Sprintf("%d bytes", want)})
}

// stalled says that it was the watch that ended a read.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// alive is a reader that winds up the watch with every byte.
type alive struct {
	io.Reader
	watch    *time.Timer
	patience time.Duration
}

func (a *alive) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		a.watch.Reset(a.patience)
	}
	return n, err
}

func (t *transfer) say(format string, args ...any) {
	t.report(t.part.size, t.entry.Size, fmt.Sprintf(format, args...))
}
