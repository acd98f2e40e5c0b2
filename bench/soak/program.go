package soak

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long the program may take to end when asked to; far more than its grace.
const stopPatience = 2 * time.Minute

// program is `sightline run` with a folder of its own, which is killed and started again.
type program struct {
	command func(args ...string) *exec.Cmd // of the same sightline
	folder  string
	disk    *disk  // what the state folder lies on
	noDisk  error  // why it has none of its own
	status  string // address of its HTTP server
	box     string
	site    *site

	mu      sync.Mutex
	version int // of the pipeline file
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd has ended
	err     error         // of its end
	log     *os.File
}

func newProgram(folder, box string, s *site, command func(...string) *exec.Cmd) (*program, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &program{command: command, folder: folder, status: listener.Addr().String(), box: box, site: s}
	listener.Close()
	p.log, err = os.OpenFile(filepath.Join(folder, "run.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := p.write(); err != nil {
		return nil, err
	}
	p.disk, p.noDisk = newDisk(p.state())
	return p, nil
}

func (p *program) file() string  { return filepath.Join(p.folder, "soak.yaml") }
func (p *program) state() string { return filepath.Join(p.folder, "state") }

// hookSpool is how many bytes may wait for the web server: so few that a long outage costs results.
const hookSpool = 64 << 10

// write writes the pipeline file. From one version to the next one number changes.
func (p *program) write() error {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nname: soak\ndevice: soak\ngrace: 10s\nhttp: {listen: %q}\nsources:\n", p.status)
	var names []string
	for _, e := range p.site.cameras {
		names = append(names, e.name)
		fmt.Fprintf(&b, "  %s:\n    rtsp: {url: \"rtsp://%s/%s\", transport: tcp, stall: 2s}\n    staleness: 10s\n",
			e.name, e.gate.address(), e.name)
	}
	inputs := strings.Join(names, ", ")
	fmt.Fprintf(&b, "models:\n  scene:\n    inputs: [%s]\n    model: gate\n    threshold: %.2f\n    events: {agree: 2, of: 3, hold: 1s}\n",
		inputs, 0.30+0.01*float64(p.version%10))
	fmt.Fprintf(&b, "sinks:\n  cloud:\n    inputs: [scene]\n    mqtt: {url: \"mqtt://%s\", timeout: 3s, keep_alive: 5s}\n", p.site.broker.gate.address())
	fmt.Fprintf(&b, "  hook:\n    inputs: [scene]\n    send: [results]\n    http: {url: \"http://%s/hook\", timeout: 3s, gzip: true}\n    spool: {max_bytes: %dB}\n",
		p.site.hook.gate.address(), hookSpool)
	fmt.Fprintf(&b, "runtime: {default: %s}\n", p.box)
	return os.WriteFile(p.file(), []byte(b.String()), 0o600)
}

// start starts the program and returns at once. When this process is killed it is asked to stop.
func (p *program) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := p.command("run", p.file(), "--state", p.state())
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal comes when the thread that started it ends
		err := cmd.Start()
		started <- err
		if err == nil {
			err = cmd.Wait()
			p.mu.Lock()
			p.err = err
			p.mu.Unlock()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start sightline run: %w", err)
	}
	p.cmd, p.ended, p.err = cmd, ended, nil
	return nil
}

// running is the process, and a channel that is closed at its end.
func (p *program) running() (pid int, ended <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0, nil
	}
	return p.cmd.Process.Pid, p.ended
}

func (p *program) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s) // it may have ended, which is found elsewhere
	}
}

// kill ends the program as kill -9 does.
func (p *program) kill() {
	_, ended := p.running()
	p.signal(syscall.SIGKILL)
	<-ended
}

// stop asks the program to end, and waits.
func (p *program) stop() error {
	_, ended := p.running()
	if ended == nil {
		return nil
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopPatience):
		p.kill()
		return fmt.Errorf("sightline run did not end within %s of SIGTERM and was killed", stopPatience)
	}
	if err := p.failure(); err != nil {
		return fmt.Errorf("sightline run, asked to end: %w", err)
	}
	return nil
}

// failure is with what error the program has ended.
func (p *program) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// reload changes the pipeline file and has the program take it up.
func (p *program) reload() error {
	p.version++
	if err := p.write(); err != nil {
		return err
	}
	p.signal(syscall.SIGHUP)
	return nil
}

// end stops what runs, with its boxes, and closes the log. It is for the end of a soak that broke.
func (p *program) end() {
	_ = p.stop() // the reason it broke is told already
	p.log.Close()
}

// leave leaves the state folder where it can be looked at.
func (p *program) leave() error {
	if p.disk == nil {
		return nil
	}
	return p.disk.leave()
}

// remove removes the folder. Trees of closures are read-only.
func (p *program) remove() error {
	if p.disk != nil {
		if err := p.disk.remove(); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(p.folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(p.folder))
}
