package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// Recover adopts the guest of a box that Start was called for, perhaps by a supervisor that was killed
// in the middle of it, or removes what is left of it and returns driver.ErrGone. The pipes are the
// names of the ports with that channel.
func Recover(ctx context.Context, id, dir string, log io.Writer, pipes ...string) (*Process, error) {
	if err := outlive.CheckID(id); err != nil {
		return nil, err
	}
	r, err := readRecord(dir, id)
	if errors.Is(err, fs.ErrNotExist) { // it is written before anything is made, and removed last
		return nil, gone(tidy(dir))
	}
	if err != nil {
		return nil, err
	}
	if r.Boot != outlive.Boot() { // its processes and cgroups went with the machine
		return nil, gone(tidy(dir))
	}
	if r.PID == 0 || !outlive.Is(r.PID, r.Started) {
		return nil, gone(r.wipe(dir))
	}
	p, err := r.adopt(ctx, dir, log, pipes)
	if errors.Is(err, driver.ErrGone) {
		return nil, gone(r.wipe(dir))
	}
	return p, err
}

// gone is ErrGone, unless the removal of what was left went wrong.
func gone(err error) error {
	if err != nil {
		return err
	}
	return driver.ErrGone
}

func (r record) adopt(ctx context.Context, dir string, w io.Writer, pipes []string) (p *Process, err error) {
	p = &Process{record: r, dir: dir, pipes: map[string]*Pipe{}}
	if p.folder, err = openFolder(dir); err != nil {
		return nil, err
	}
	opened := []io.Closer{p.folder}
	defer func() {
		if err == nil {
			return
		}
		for _, c := range opened {
			_ = c.Close() // nothing was written
		}
	}()
	for _, name := range pipes {
		if p.pipes[name], err = p.folder.joinPipe(name); err != nil {
			return nil, err
		}
		opened = append(opened, p.pipes[name])
	}
	if p.child, err = os.FindProcess(r.PID); err != nil { // holds on to the process, not to its number
		return nil, err
	}
	exit, err := outlive.WatchExit(r.PID, r.Started)
	if err != nil {
		return nil, err
	}
	opened = append(opened, exit)
	if !outlive.Is(r.PID, r.Started) { // looked at after both were opened, so they are of the same process
		return nil, driver.ErrGone
	}
	log, err := outlive.JoinLog(filepath.Join(dir, logFile))
	if err != nil {
		return nil, err
	}
	p.wait = exit.Wait
	p.run(w, log)
	if err := p.connect(ctx); err != nil {
		return p.unconnected(ctx, err)
	}
	return p, nil
}

// unconnected decides about a QEMU that was there, but whose monitor isn't.
func (p *Process) unconnected(ctx context.Context, err error) (*Process, error) {
	if ctx.Err() != nil {
		return nil, err
	}
	p.kill()
	<-p.done
	return nil, driver.ErrGone
}

// holders returns the processes that have the lock of a box open.
func holders(dir string) []int {
	var lock, open unix.Stat_t
	if unix.Stat(filepath.Join(dir, lockFile), &lock) != nil {
		return nil
	}
	names, _ := filepath.Glob("/proc/[0-9]*/fd/" + strconv.Itoa(lockFD)) // the pattern is good
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(name))))
		if err == nil && pid != os.Getpid() && unix.Stat(name, &open) == nil && open.Dev == lock.Dev && open.Ino == lock.Ino {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill kills all that is left of a guest, again until there is nothing.
func (r record) kill(dir string) error {
	until := time.Now().Add(leftTime)
	for {
		left := r.Groups.Kill()
		if r.PID > 0 && outlive.Is(r.PID, r.Started) {
			left = true
			_ = unix.Kill(r.PID, unix.SIGKILL) // it may have ended
		}
		for _, pid := range holders(dir) {
			left = true
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if !left && unlocked(dir) {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("QEMU of box %q doesn't die", r.ID)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// unlocked says that no process holds the lock: not even one that is being started.
func unlocked(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// remove removes all traces of a guest that has ended.
func (r record) remove(dir string) error {
	return errors.Join(r.Groups.Remove(time.Now().Add(leftTime)), tidy(dir))
}

// wipe ends whatever there is of a guest and removes it.
func (r record) wipe(dir string) error { return errors.Join(r.kill(dir), r.remove(dir)) }
