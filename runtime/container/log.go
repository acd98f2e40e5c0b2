package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// followLog hands over what the box prints until ctx ends, whatever becomes of the engine meanwhile.
func (b *box) followLog(ctx context.Context) {
	var p pause
	for ctx.Err() == nil {
		begin := time.Now()
		err := b.position.read(ctx, b.engine, b.container, b.spec.Log, true)
		if errdefs.IsNotFound(err) {
			return
		}
		if time.Since(begin) > keptTime {
			p = pause{}
		}
		select {
		case <-ctx.Done():
		case <-p.timer():
		}
	}
}

// readRest hands over what is left of the log of a box that has ended.
func (p *position) readRest(ctx context.Context, e *engine, id string, to io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var wait pause
	for {
		err := p.read(ctx, e, id, to, false)
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
func (p *position) read(ctx context.Context, e *engine, id string, to io.Writer, follow bool) error {
	since, seen := p.resume()
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: follow}
	if !since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())
	}
	return e.long(ctx, func(ctx context.Context, api *client.Client) error {
		log, err := api.ContainerLogs(ctx, id, options)
		if err != nil {
			return err
		}
		defer log.Close()
		f := frames{from: log}
		for {
			entry, err := f.next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read log: %w", err)
			}
			m := markOf(entry)
			if seen[m] > 0 || entry.at.Before(since) {
				seen[m]--
				continue
			}
			_, _ = to.Write(append(entry.text, '\n')) // what it refuses is lost: a box is not to stall because of its log
			if err := p.note(m); err != nil {
				return fmt.Errorf("note how far the log was read: %w", err)
			}
		}
	})
}
