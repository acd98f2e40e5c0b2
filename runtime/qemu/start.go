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
	s := &starting{Launch: l, record: record{Version: recordVersion, ID: l.ID, Boot: outlive.Boot(), Groups: l.Groups.Of(l.ID)}}
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
	p.wait = p.waitForChild
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

// arguments opens all that QEMU needs and puts its arguments together.
func (s *starting) arguments() (*arguments, error) {
	g, a := &s.Guest, &arguments{}
	a.common(s.ID, s.Emulator, g)
	a.global(g)
	for _, load := range []struct {
		flag   string
		source Source
	}{{"-bios", g.Firmware}, {"-kernel", g.Kernel}, {"-initrd", g.Initrd}} {
		if !load.source.given() {
			continue
		}
		f, err := s.source(load.source)
		if err != nil {
			return nil, err
		}
		a.load(load.flag, f)
	}
	if g.Append != "" {
		a.add("-append", g.Append)
	}
	if err := s.disks(a); err != nil {
		return nil, err
	}
	if err := s.channels(a); err != nil {
		return nil, err
	}
	a.ports(g)
	a.network(g)
	return a, nil
}

// source opens a file so that QEMU's user can open it once more.
func (s *starting) source(from Source) (*os.File, error) {
	f := from.File
	if f == nil {
		var err error
		if f, err = os.Open(from.Path); err != nil {
			return nil, err
		}
		s.opened = append(s.opened, f)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if s.record.UID == 0 || info.Mode().Perm()&0o004 != 0 {
		return f, nil
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, err
	}
	copied, err := Sealed(filepath.Base(f.Name()), data)
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, copied)
	return copied, nil
}

func (s *starting) disks(a *arguments) error {
	for i, d := range s.Guest.Disks {
		flags := []int{os.O_RDONLY}
		if d.Writing == Keep {
			flags = append(flags, os.O_RDWR)
		}
		var files []*os.File
		for _, flag := range flags {
			f, err := os.OpenFile(d.Path, flag, 0)
			if err != nil {
				return fmt.Errorf("open disk: %w", err)
			}
			s.opened = append(s.opened, f)
			files = append(files, f)
		}
		if err := CheckImage(files[0], d.Format); err != nil {
			return fmt.Errorf("disk %q %w", d.Path, err)
		}
		a.disk(&s.Guest, i, d, files...)
		if d.Writing == Discard {
			if err := s.folder.makeRoom(s.record.UID); err != nil {
				return err
			}
		}
	}
	return nil
}

// channels makes the sockets and pipes of the monitor, the ports and the network.
func (s *starting) channels(a *arguments) error {
	s.pipes = map[string]*Pipe{}
	all := append([]Port{{Name: monitorName}}, s.Guest.Ports...)
	if s.Guest.Network != nil {
		for _, f := range s.Guest.Network.Forwards {
			all = append(all, Port{Name: f.Name})
		}
	}
	for _, c := range all {
		if c.Channel == Pipes {
			p, err := s.folder.makePipe(c.Name, s.record.UID, c.First)
			if err != nil {
				return err
			}
			s.pipes[c.Name] = p
			a.channel(c.Name, Pipes, nil)
			continue
		}
		listener, err := s.folder.listen(c.Name)
		if err != nil {
			return err
		}
		s.opened = append(s.opened, listener)
		a.channel(c.Name, Socket, listener)
	}
	a.add("-mon", option("", "chardev", identity(monitorName), "mode", "control"))
	return nil
}
