package qemu

import (
	"fmt"
	"os"
	"path/filepath"
)

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
