package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/vm/order"
)

// Where things are while the guest is put together.
const (
	newRoot   = "/root"
	disk      = "/dev/vda"
	portNames = "/sys/class/virtio-ports"
)

// guest is this guest.
type guest struct {
	orders *bufio.Reader
	init   *os.File
	log    *os.File
	wire   uint64 // device number
}

// live does all that a guest is for, up to the end of its stage.
func (g *guest) live() (order.Report, error) {
	for _, m := range []mount{
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, ""},
	} {
		if err := m.do(); err != nil {
			return order.Report{}, err
		}
	}
	events, err := listen()
	if err != nil {
		return order.Report{}, err
	}
	if err := loadModules(order.ModuleFolder); err != nil {
		return order.Report{}, err
	}
	if err := g.openPorts(events); err != nil {
		return order.Report{}, err
	}
	o, err := g.order()
	if err != nil || o.Trial {
		return order.Report{}, err
	}
	if err := await(events, disk); err != nil {
		return order.Report{}, err
	}
	if err := g.enterRoot(o); err != nil {
		return order.Report{}, err
	}
	return g.run(o)
}

// loadModules loads all modules of a folder, in the order of their names.
func loadModules(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close() // only read
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load module %q: %w", e.Name(), err)
		}
	}
	return nil
}

// openPorts finds the ports by their names and opens those that are not the stage's.
func (g *guest) openPorts(events int) (err error) {
	name, err := findPort(events, order.InitPort)
	if err != nil {
		return err
	}
	if g.init, err = os.OpenFile("/dev/"+name, os.O_RDWR, 0); err != nil {
		return err
	}
	g.orders = bufio.NewReaderSize(g.init, order.MaxLine)
	if name, err = findPort(events, order.LogPort); err != nil {
		return err
	}
	if g.log, err = os.OpenFile("/dev/"+name, os.O_WRONLY, 0); err != nil {
		return err
	}
	if name, err = findPort(events, order.StagePort); err != nil {
		return err
	}
	var info unix.Stat_t
	if err := unix.Stat("/dev/"+name, &info); err != nil {
		return &os.PathError{Op: "stat", Path: "/dev/" + name, Err: err}
	}
	g.wire = info.Rdev
	return nil
}

// findPort waits for a port of virtio-serial, and returns the name of its device.
func findPort(events int, port string) (device string, err error) {
	err = waitUntil(events, "a port "+port, func() bool {
		entries, _ := os.ReadDir(portNames) // comes with the module
		for _, e := range entries {
			data, _ := os.ReadFile(filepath.Join(portNames, e.Name(), "name")) // comes after the port
			if strings.TrimSpace(string(data)) != port {
				continue
			}
			if _, err := os.Stat("/dev/" + e.Name()); err == nil {
				device = e.Name()
				return true
			}
		}
		return false
	})
	return device, err
}

// order reads what to become.
func (g *guest) order() (order.Order, error) {
	line, err := g.orders.ReadSlice('\n')
	if err != nil {
		return order.Order{}, fmt.Errorf("read order: %w", err)
	}
	return order.ParseOrder(line)
}

// report tells the host how it ended, if it listens.
func (g *guest) report(r order.Report) {
	line, err := r.Encode()
	if err != nil || g.init == nil {
		fmt.Println("sightline-init: no report:", err)
		return
	}
	told := make(chan error, 1)
	go func() {
		_, err := g.init.Write(line)
		told <- err
	}()
	select {
	case err := <-told:
		if err != nil {
			fmt.Println("sightline-init: report:", err)
		}
	case <-time.After(farewell):
	}
}

// farewell bounds how long the host may take to read the last that there is.
const farewell = 5 * time.Second

// copyLog copies what the stage prints until nobody can print any more.
func (g *guest) copyLog(from *os.File, done chan<- struct{}) {
	defer close(done)
	if _, err := io.Copy(g.log, from); err != nil {
		fmt.Println("sightline-init: log:", err)
	}
}

// outOfMemory says that the kernel has killed something for its memory.
func outOfMemory() bool {
	data, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "oom_kill" {
			n, err := strconv.Atoi(value)
			return err == nil && n > 0
		}
	}
	return false
}
