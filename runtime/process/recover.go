package process

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// recoverBox adopts the box of spec, or removes what is left of it.
func recoverBox(ctx context.Context, spec driver.Spec) (*box, error) {
	if err := outlive.CheckID(spec.ID); err != nil {
		return nil, err
	}
	r, err := readRecord(spec.Dir, spec.ID)
	if errors.Is(err, fs.ErrNotExist) { // it is written before anything is made, and removed last
		return nil, gone(tidy(spec.Dir))
	}
	if err != nil {
		return nil, err
	}
	if r.Boot != outlive.Boot() { // its processes and cgroups went with the machine
		return nil, gone(tidy(spec.Dir))
	}
	lock, err := outlive.TakeLock(ctx, filepath.Join(spec.Dir, lockFile)) // a helper that hasn't become the stage ends by itself
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if r, err = readRecord(spec.Dir, spec.ID); err != nil {
		return nil, err
	}
	b, err := adopt(r, spec)
	if errors.Is(err, driver.ErrGone) {
		return nil, gone(r.wipe(spec.Dir))
	}
	return b, err
}

// gone is ErrGone, unless the removal of what was left went wrong.
func gone(err error) error {
	if err != nil {
		return err
	}
	return driver.ErrGone
}

// adopt takes over a running box; ErrGone if it doesn't run.
func adopt(r record, spec driver.Spec) (*box, error) {
	if r.PID == 0 {
		return nil, driver.ErrGone
	}
	child, err := os.FindProcess(r.PID) // holds on to the process, not to its number
	if err != nil {
		return nil, err
	}
	exit, err := outlive.WatchExit(r.PID, r.Started)
	if err != nil {
		return nil, errors.Join(err, child.Release())
	}
	if !outlive.Is(r.PID, r.Started) { // looked at after both were opened, so they are of the same process
		return nil, errors.Join(driver.ErrGone, exit.Close(), child.Release())
	}
	if err := admit(spec, r.UID); err != nil {
		return nil, errors.Join(err, exit.Close(), child.Release())
	}
	log, err := outlive.JoinLog(filepath.Join(spec.Dir, logFile))
	if err != nil {
		return nil, errors.Join(err, exit.Close(), child.Release())
	}
	b := &box{record: r, child: child, wait: exit.Wait}
	return b.run(spec, log), nil
}
