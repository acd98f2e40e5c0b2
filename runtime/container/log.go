package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

// log hands over what a box prints, once, also when supervisors come and go. Its methods are for one
// goroutine at a time.
type log interface {
	// follow hands over what is printed until ctx ends, whatever becomes of the engine meanwhile.
	follow(ctx context.Context)
	// rest hands over what is left when the box has ended.
	rest(ctx context.Context)
	close() error
}

// makeNote makes the file in which is noted how far a log was read; os.ErrExist if there is one.
func makeNote(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, logFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make note of the log: %w", err)
	}
	return f, nil
}

// openNote opens the file; if it is gone, the log is read from its beginning.
func openNote(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, logFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open note of the log: %w", err)
	}
	return f, nil
}

// logOf returns the log of a container. Podman cuts lines when it follows a log, so that its file is
// read instead, where that may be.
func (e *engine) logOf(spec driver.Spec, c container.InspectResponse, note *os.File) (log, error) {
	follows := true
	if e.podman {
		if c.LogPath != "" && unix.Access(filepath.Dir(c.LogPath), unix.R_OK|unix.X_OK) == nil {
			return openFileLog(spec.Log, c.LogPath, note)
		}
		follows = false
	}
	p, err := readPosition(note)
	if err != nil {
		return nil, err
	}
	return &engineLog{engine: e, container: c.ID, to: spec.Log, position: p, follows: follows}, nil
}

// engineLog is a log that the engine is asked for.
type engineLog struct {
	engine    *engine
	container string
	to        io.Writer
	position  *position
	follows   bool // the engine is trusted to follow it
}

var _ log = (*engineLog)(nil)

// askTime is how often an engine is asked that isn't trusted to follow.
const askTime = time.Second

func (l *engineLog) close() error { return l.position.close() }

func (l *engineLog) follow(ctx context.Context) {
	var p pause
	for ctx.Err() == nil {
		begin := time.Now()
		err := l.read(ctx, l.follows)
		if errdefs.IsNotFound(err) {
			return
		}
		wait := p.timer()
		switch {
		case !l.follows:
			wait = time.After(askTime)
		case time.Since(begin) > keptTime:
			p = pause{}
		}
		select {
		case <-ctx.Done():
		case <-wait:
		}
	}
}

func (l *engineLog) rest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var wait pause
	for {
		err := l.read(ctx, false)
		var away *UnreachableError
		if !errors.As(err, &away) { // what it can't tell now, it never can
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-wait.timer():
		}
	}
}

// read hands over what was not handed over before, until the engine ends the log.
func (l *engineLog) read(ctx context.Context, follow bool) error {
	rest := l.position.resume()
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: follow}
	if since := rest.since; !since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
	}
	return l.engine.long(ctx, func(ctx context.Context, api *client.Client) error {
		log, err := api.ContainerLogs(ctx, l.container, options)
		if err != nil {
			return err
		}
		defer log.Close()
		return l.copy(log, rest)
	})
}

// copy hands over the entries of a log that are not in rest.
func (l *engineLog) copy(log io.Reader, rest *rest) error {
	f := frames{from: log}
	for {
		entry, err := f.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if rest.has(entry) {
			continue
		}
		m := markOf(entry)
		_, _ = l.to.Write(append(entry.text, '\n')) // what it refuses is lost: a box is not to stall because of its log
		if err := l.position.note(m); err != nil {
			return fmt.Errorf("note how far the log was read: %w", err)
		}
	}
}
