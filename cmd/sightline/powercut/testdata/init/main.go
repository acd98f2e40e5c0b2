// Command init is the first program of the device of a power cut's test, which is one guest: it mounts
// the device's disk, and then does what the test asks for over the second serial port, a line of JSON
// each. Every answer, and every result that the site acknowledges, is a line of JSON too.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is where the device's disk is mounted.
const disk = "/disk"

// order is what the test asks for; one of the fields is set.
type order struct {
	Run    []string // a command line on the device, to its end
	Start  []string // one that goes on; it writes to the console
	World  bool     // the camera, the broker and the upstream
	Read   string   // a file of the device
	Remove []string // files and folders of the device
	Write  string   // a file of the device, of which nothing is flushed
	List   string   // a folder of the device

	Env []string // of Run and Start
}

// line is what is said to the test.
type line struct {
	Answer bool   `json:",omitempty"`
	Ready  bool   `json:",omitempty"`
	Acked  string `json:",omitempty"`
	Out    string `json:",omitempty"`
	Failed string `json:",omitempty"`
}

// port is the serial port to the test.
type port struct {
	mu   sync.Mutex
	file io.ReadWriter
}

func (p *port) say(l line) {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // strings can be marshalled
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.file.Write(append(text, '\n')); err != nil {
		fmt.Println("tell the test:", err)
	}
}

func main() {
	defer func() { _ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF) }()
	if err := prepare(); err != nil {
		fmt.Println("prepare the device:", err)
		return
	}
	file, err := openPort("/dev/ttyS1")
	if err != nil {
		fmt.Println("open the port to the test:", err)
		return
	}
	p := &port{file: file}
	p.say(line{Ready: true})
	orders := bufio.NewScanner(file)
	for orders.Scan() {
		var o order
		if err := json.Unmarshal(orders.Bytes(), &o); err != nil {
			p.say(line{Answer: true, Failed: err.Error()})
			continue
		}
		out, err := o.do(p)
		l := line{Answer: true, Out: out}
		if err != nil {
			l.Failed = err.Error()
		}
		p.say(l)
	}
}

// prepare loads the modules and mounts all that a device has.
func prepare() error {
	modules, _ := filepath.Glob("/modules/*.ko") // sorted; the pattern is good
	for _, name := range modules {
		if err := load(name); err != nil {
			return fmt.Errorf("load %q: %w", name, err)
		}
	}
	mounts := []struct{ what, where, kind string }{
		{"dev", "/dev", "devtmpfs"}, {"/dev/vda", disk, "ext4"},
		{"dev", disk + "/dev", "devtmpfs"}, {"proc", disk + "/proc", "proc"}, {"sys", disk + "/sys", "sysfs"},
		{"cgroup2", disk + "/sys/fs/cgroup", "cgroup2"},
		{"tmp", disk + "/tmp", "tmpfs"}, {"tmp", disk + "/world/tmp", "tmpfs"}, {"proc", disk + "/world/proc", "proc"},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.where, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.what, m.where, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s at %q: %w", m.what, m.where, err)
		}
	}
	return loopback()
}

func load(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.FinitModule(int(file.Fd()), "", 0)
}

// loopback is all of a network that the device ever has.
func loopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	all, err := net.Interfaces()
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("the device has a network: %v", all)
	}
	return err
}

// openPort opens a serial port that changes nothing of what goes through it.
func openPort(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (o order) do(p *port) (string, error) {
	switch {
	case o.Run != nil:
		out, err := o.command(o.Run, disk).CombinedOutput()
		return string(out), err
	case o.Start != nil:
		c := o.command(o.Start, disk)
		c.Stdout, c.Stderr = os.Stdout, os.Stdout
		return "", begin(c)
	case o.World:
		return "", world(p)
	case o.Read != "":
		text, err := os.ReadFile(filepath.Join(disk, o.Read))
		return string(text), err
	case o.Write != "":
		return "", os.WriteFile(filepath.Join(disk, o.Write), []byte(strings.Repeat("never flushed\n", 100)), 0o600)
	case o.List != "":
		entries, err := os.ReadDir(filepath.Join(disk, o.List))
		names := make([]string, len(entries))
		for i, entry := range entries {
			names[i] = entry.Name()
		}
		return strings.Join(names, "\n"), err
	}
	var errs []error
	for _, name := range o.Remove {
		errs = append(errs, os.RemoveAll(filepath.Join(disk, name)))
	}
	return "", errors.Join(errs...)
}

func (o order) command(args []string, root string) *exec.Cmd {
	c := exec.Command(args[0], args[1:]...)
	c.Dir, c.Env = "/", append([]string{"PATH=/usr/bin", "HOME=/"}, o.Env...)
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Setsid: true}
	return c
}

func begin(c *exec.Cmd) error {
	if err := c.Start(); err != nil {
		return err
	}
	go func() { fmt.Printf("%q ended: %v\n", c.Args, c.Wait()) }()
	return nil
}

// world starts the camera, the broker and the upstream. The upstream tells of a result, a line each,
// once it is in its file for good.
func world(p *port) error {
	c := order{}.command([]string{"/stage"}, filepath.Join(disk, "world"))
	c.Stderr = os.Stdout
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	said := bufio.NewScanner(out)
	if !said.Scan() {
		return fmt.Errorf("the world ended: %w", c.Wait())
	}
	go func() {
		for said.Scan() {
			p.say(line{Acked: said.Text()})
		}
		fmt.Println("the world ended:", c.Wait())
	}()
	return nil
}
