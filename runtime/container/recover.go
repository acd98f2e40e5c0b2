package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// recover adopts the box of spec, or removes what is left of it.
func (e *engine) recover(ctx context.Context, spec driver.Spec) (*box, error) {
	if err := outlive.CheckID(spec.ID); err != nil {
		return nil, err
	}
	got, err := e.awaitFate(ctx, spec)
	if errdefs.IsNotFound(err) {
		return nil, gone(tidy(spec.Dir), "")
	}
	if err != nil {
		return nil, err
	}
	if !isOurs(got, spec.ID, spec.Dir) {
		return nil, fmt.Errorf("container %q is not of this box in %q: remove or rename it", nameOf(spec.ID), spec.Dir)
	}
	note, err := openNote(spec.Dir)
	if err != nil {
		return nil, err
	}
	l, err := e.logOf(spec, got, note)
	if err != nil {
		return nil, errors.Join(err, note.Close())
	}
	if !got.State.Running {
		how := ""
		if got.State.Status != container.StateCreated {
			how = exitOf(got.State, 0, false).String()
		}
		return nil, gone(e.bury(ctx, spec, got.ID, l), how)
	}
	if err := e.admitAgain(spec); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return e.run(spec, got.ID, l), nil
}

// gone is driver.ErrGone, unless the removal of what was left went wrong.
func gone(err error, how string) error {
	switch {
	case err != nil:
		return err
	case how != "":
		return fmt.Errorf("%w: %s", driver.ErrGone, how)
	}
	return driver.ErrGone
}

// awaitFate asks for the container of a box. An engine may be at work on what a supervisor asked for
// just before it was killed: when that one has got as far as asking, a moment is waited for it.
func (e *engine) awaitFate(ctx context.Context, spec driver.Spec) (container.InspectResponse, error) {
	until := time.Now().Add(fateTime)
	for {
		got, err := e.inspect(ctx, nameOf(spec.ID))
		if !errdefs.IsNotFound(err) || time.Now().After(until) {
			return got, err
		}
		if _, missing := os.Lstat(filepath.Join(spec.Dir, logFile)); errors.Is(missing, fs.ErrNotExist) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// admitAgain lets the box to the socket, which the supervisor that comes anew has made anew.
func (e *engine) admitAgain(spec driver.Spec) error {
	u, err := e.userOf(ownUser(spec.ID))
	if err != nil {
		return err
	}
	return admit(spec, u.group)
}
