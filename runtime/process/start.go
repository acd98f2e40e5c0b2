package process

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sightline/runtime/cgroup"
	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// starting is the start of one box.
type starting struct {
	host    *host
	spec    driver.Spec
	folder  string // with the closure
	command []string

	uid    int
	groups cgroup.Groups
}

// start makes a box, or leaves nothing behind.
func (s *starting) start(ctx context.Context) (*box, error) {
	s.groups = s.host.groups.Of(s.spec.ID)
	for _, name := range append(s.groups.Dirs(), filepath.Join(s.spec.Dir, stateFile)) {
		if _, err := os.Lstat(name); err == nil {
			return nil, fmt.Errorf("a box with this ID exists: %q", name)
		}
	}
	if s.host.way.namespaces {
		if err := checkFolder(s.folder); err != nil {
			return nil, err
		}
	}
	if s.host.way.ownUser {
		s.uid = outlive.UserOf(s.spec.ID)
	}
	r := record{outlive.NewRecord(s.spec.ID, s.uid, s.groups)}
	if err := r.write(s.spec.Dir); err != nil {
		return nil, errors.Join(err, tidy(s.spec.Dir))
	}
	b, err := s.make(ctx, r)
	if err != nil {
		return nil, errors.Join(err, r.wipe(s.spec.Dir))
	}
	return b, nil
}

func (s *starting) make(ctx context.Context, r record) (*box, error) {
	if err := s.groups.Create(s.spec.Limits); err != nil {
		return nil, err
	}
	if err := admit(s.spec, s.uid); err != nil {
		return nil, err
	}
	order, err := s.order()
	if err != nil {
		return nil, err
	}
	reader, writer, err := outlive.MakeLog(filepath.Join(s.spec.Dir, logFile))
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	lock, err := outlive.TakeLock(ctx, filepath.Join(s.spec.Dir, lockFile))
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	defer lock.Close()
	l := &launch{command: s.command, way: s.host.way, order: order, log: writer, lock: lock}
	child, err := s.launch(ctx, l, r)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	writer.Close() // so that the log ends with the box
	return child.run(s.spec, reader), nil
}

// launch forks, writes the state, and only then lets the program run. A helper whose supervisor is
// gone by then ends by itself.
func (s *starting) launch(ctx context.Context, l *launch, r record) (*box, error) {
	child, err := l.fork()
	if err != nil {
		return nil, err
	}
	r.PID = child.Pid
	st, err := outlive.ReadStat(child.Pid)
	if err == nil {
		r.Started = st.Started
		err = r.write(s.spec.Dir)
	}
	if err == nil {
		err = l.release(ctx)
	} else {
		l.close()
	}
	if err != nil {
		_ = child.Kill() // may have ended
		_, _ = child.Wait()
		return nil, err
	}
	return &box{record: r, child: child}, nil
}

// order says what the helper shall become for this box.
func (s *starting) order() (*order, error) {
	o := s.host.order(s.folder, s.spec.Dir, s.spec.Dir, s.uid)
	o.Groups = s.groups.Procs()
	if s.spec.GPU {
		o.Devices = gpuDevices()
		o.Extra, o.Sys = groupsOf(o.Devices), true
	}
	if _, ok := s.groups.Folders["pids"]; !ok {
		o.PIDs = s.spec.Limits.PIDs
	}
	socket := filepath.Join(WireFolder, filepath.Base(s.spec.Socket))
	if o.Root != "" {
		if err := os.Mkdir(o.Root, 0o755); err != nil {
			return nil, err
		}
		o.Program = append(append([]string{}, s.spec.Program...), socket)
		return o, nil
	}
	program, err := commandIn(s.folder, s.spec.Program[0])
	if err != nil {
		return nil, err
	}
	socket = filepath.Join(wireHandle, filepath.Base(s.spec.Socket))
	o.Program = append(append(program, s.spec.Program[1:]...), socket)
	return o, nil
}

// commandIn returns how to run a program of a closure that is the working directory, but not the
// root folder: by its own loader, with its own libraries. Paths are relative, as a box with its own
// user needn't be able to come there from the root.
func commandIn(folder, program string) ([]string, error) {
	at := filepath.Join(folder, program)
	f, err := elf.Open(at)
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		data, err := io.ReadAll(p.Open())
		if err != nil {
			return nil, fmt.Errorf("program %q: %w", at, err)
		}
		loader := strings.TrimRight(string(data), "\x00")
		return []string{"." + loader, "--inhibit-cache", "--library-path", "." + closure.LibraryPath, "." + program}, nil
	}
	return []string{"." + program}, nil
}

// admit lets a box that is another user through its folder to its socket, to nothing else.
func admit(spec driver.Spec, uid int) error {
	if uid == 0 {
		return nil
	}
	if err := os.Chown(spec.Dir, -1, uid); err != nil {
		return err
	}
	if err := os.Chmod(spec.Dir, 0o710); err != nil {
		return err
	}
	if err := os.Lchown(spec.Socket, -1, uid); err != nil {
		return fmt.Errorf("let the box to its wire: %w", err)
	}
	return os.Chmod(spec.Socket, 0o660)
}
