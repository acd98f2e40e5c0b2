package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"sightline/runtime/cgroup"
	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// Launch says which guest to start, where and how.
type Launch struct {
	ID       string // of the box
	Dir      string // of the box, in which the guest gets a folder
	Emulator *Emulator
	Guest    Guest
	Groups   cgroup.Groups // below which QEMU gets cgroups; none: it is not limited
	Limits   driver.Limits // of QEMU, in its cgroups; Memory counts the guest's and Overhead
	Log      io.Writer     // takes the guest's console, and what QEMU says, line by line
}

// Start starts a guest. It returns when QEMU is there and the guest begins to run; after an error
// nothing is left.
func Start(ctx context.Context, l Launch) (*Process, error) {
	if err := outlive.CheckID(l.ID); err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	s := &starting{Launch: l, record: record{outlive.NewRecord(l.ID, 0, l.Groups.Of(l.ID))}}
	if os.Geteuid() == 0 {
		s.record.UID = outlive.UserOf(l.ID)
	}
	for _, name := range append(s.record.Groups.Dirs(), filepath.Join(l.Dir, recordFile)) {
		if _, err := os.Lstat(name); err == nil {
			return nil, fmt.Errorf("a box with this ID exists: %q", name)
		}
	}
	if err := s.record.write(l.Dir); err != nil {
		return nil, errors.Join(err, tidy(l.Dir))
	}
	p, err := s.start(ctx)
	if err != nil {
		return nil, errors.Join(err, s.record.wipe(l.Dir))
	}
	return p, nil
}

func (l *Launch) check() error {
	if err := l.Guest.Check(); err != nil {
		return err
	}
	if l.Guest.Machine.Arch() != l.Emulator.Arch {
		return fmt.Errorf("machine %s is not for guests of %s", l.Guest.Machine, l.Emulator.Arch)
	}
	return nil
}

// starting is the start of one guest.
type starting struct {
	Launch
	record record
	folder *folder
	opened []io.Closer // the supervisor's own, to be closed when QEMU has them
	pipes  map[string]*Pipe
}

func (s *starting) start(ctx context.Context) (p *Process, err error) {
	defer s.close()
	limits := s.Limits
	if limits.Memory > 0 {
		limits.Memory += Overhead
	}
	if err := s.record.Groups.Create(limits); err != nil {
		return nil, err
	}
	if err := admitThrough(s.Dir, s.record.UID); err != nil {
		return nil, err
	}
	if s.folder, err = makeFolder(s.Dir, s.record.UID); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closePipes())
		}
	}()
	arguments, err := s.arguments()
	if err != nil {
		return nil, err
	}
	lock, err := outlive.TakeLock(ctx, filepath.Join(s.Dir, lockFile))
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, lock)
	reader, writer, err := outlive.MakeLog(filepath.Join(s.Dir, logFile))
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, writer)
	return s.fork(ctx, &launch{emulator: s.Emulator, arguments: arguments, uid: s.record.UID, folder: s.folder.file, log: writer, lock: lock}, reader)
}

// admitThrough lets a user through a folder.
func admitThrough(dir string, uid int) error { return give(dir, uid, 0o710) }

func (s *starting) close() {
	for _, c := range s.opened {
		_ = c.Close() // read, or handed over
	}
}

func (s *starting) closePipes() error {
	var errs []error
	for _, p := range s.pipes {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// fork starts QEMU and makes sure that it is there and recorded.
func (s *starting) fork(ctx context.Context, l *launch, log *os.File) (*Process, error) {
	child, err := l.fork()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	s.record.PID = child.Pid
	stat, err := outlive.ReadStat(child.Pid)
	if err == nil {
		s.record.Started = stat.Started
		err = join(s.record.Groups.Procs(), child.Pid)
	}
	s.close() // so that the log, and a connection that nobody took, end with QEMU
	if err != nil {
		_ = child.Kill() // may have ended
		_, _ = child.Wait()
		return nil, errors.Join(err, log.Close())
	}
	p := &Process{record: s.record, dir: s.Dir, folder: s.folder, pipes: s.pipes, child: child}
	p.wait = func() driver.Exit { return outlive.WaitChild(p.child) }
	p.run(s.Log, log)
	if err := p.settle(ctx); err != nil {
		p.kill()
		<-p.done
		return nil, err
	}
	return p, nil
}

// settle waits until QEMU is there, and records it.
func (p *Process) settle(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.kill()
		<-p.done // so that all that it said is there
		if said := p.said.text(); said != "" {
			return fmt.Errorf("QEMU doesn't start: %s", said)
		}
		return fmt.Errorf("QEMU doesn't start: %w", err)
	}
	return p.record.write(p.dir)
}

// join moves a process into cgroups.
func join(doors []string, pid int) error {
	for _, door := range doors {
		if err := os.WriteFile(door, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}
