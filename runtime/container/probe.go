package container

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

// trialTime is how long a trial box may take.
const trialTime = 30 * time.Second

// Probe implements driver.Driver: it starts a box of a few hundred bytes, whose program dials its
// wire. The answer is kept for a minute.
func (d *Driver) Probe(ctx context.Context) driver.Probe {
	d.mu.Lock()
	if d.answer != nil && time.Since(d.tried) < keptTime {
		defer d.mu.Unlock()
		return *d.answer
	}
	d.asked = time.Time{}
	d.mu.Unlock()
	p := d.probe(ctx)
	if ctx.Err() == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.answer, d.tried = &p, time.Now()
	}
	return p
}

func (d *Driver) probe(ctx context.Context) driver.Probe {
	e, err := d.engine(ctx)
	if err != nil {
		return driver.Probe{Err: err}
	}
	p := driver.Probe{Engine: e.whole()}
	if err := e.trial(ctx, false); err != nil {
		p.Err = fmt.Errorf("%s runs no box: %w", e, err)
		return p
	}
	p.Protect, p.Lacks = e.protects(), e.lacks()
	return p
}

// trial starts a box that dials its wire and ends.
func (e *engine) trial(ctx context.Context, gpu bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	dir, err := os.MkdirTemp(e.trialDir, "sightline-trial-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	box := filepath.Join(dir, "box")
	if err := os.Mkdir(box, 0o700); err != nil {
		return err
	}
	spec := driver.Spec{
		ID: "trial-" + strings.ToLower(rand.Text()), Stage: "trial", Program: []string{trialProgram}, GPU: gpu,
		Dir: box, Socket: filepath.Join(box, "wire"), Log: io.Discard,
	}
	if e.memory {
		spec.Limits.Memory = 2 * leastMemory
	}
	if e.pids {
		spec.Limits.PIDs = 2 * leastPIDs
	}
	if spec.Files, err = makeTrialFiles(dir, WireFolder+"/wire"); err != nil {
		return err
	}
	wire, err := net.ListenUnix("unix", &net.UnixAddr{Name: spec.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	defer wire.Close()
	return errors.Join(e.runTrial(ctx, spec, wire), e.forget(ctx, spec.Files.Digest()))
}

func (e *engine) runTrial(ctx context.Context, spec driver.Spec, wire *net.UnixListener) error {
	b, err := e.start(ctx, spec)
	if err != nil {
		return e.hint(err, spec)
	}
	select {
	case <-b.Done():
	case <-ctx.Done():
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), leftTime)
		defer cancel()
		return errors.Join(fmt.Errorf("a trial box: %w", ctx.Err()), b.Stop(late, 0))
	}
	if exit := b.Exit(); exit.Code > 0 { // it is the number of the error
		return fmt.Errorf("a trial box can't dial its wire: %w", unix.Errno(exit.Code))
	} else if exit != (driver.Exit{}) {
		return fmt.Errorf("a trial box: %s", exit)
	}
	if err := wire.SetDeadline(time.Now().Add(time.Second)); err != nil { // it has dialled, or never will
		return err
	}
	conn, err := wire.Accept()
	if err != nil {
		return fmt.Errorf("a trial box was not heard on its wire: %w", err)
	}
	return conn.Close()
}

// hint says what to do where an engine doesn't see the supervisor's folders.
func (e *engine) hint(err error, spec driver.Spec) error {
	if strings.Contains(err.Error(), "bind source path does not exist") || strings.Contains(err.Error(), spec.Dir+": no such file") {
		return fmt.Errorf("%w (the engine doesn't see %q: under systemd, leave out PrivateTmp= or use another folder)", err, filepath.Dir(spec.Dir))
	}
	return err
}

// protects says what a box is protected by.
func (f facts) protects() []string {
	all := []string{
		"network none", "read-only root folder", "no capabilities", "no_new_privs", "own process, mount, IPC and host name spaces",
		"no environment of the supervisor's", "no /dev/shm, no tmpfs to write to", "files compared with the closure at every start",
	}
	say := func(has bool, what string) {
		if has {
			all = append(all, what)
		}
	}
	say(f.seccomp, "seccomp filter of the engine")
	say(f.appArmor, "AppArmor profile of the engine")
	say(f.rootless || f.idBase > 0, "users mapped: root inside is none outside")
	if u, err := f.userOf(ownUser("")); err == nil {
		say(u.uid == ownUser(""), "own user for each box")
		say(u.uid == nobody, "user nobody")
	}
	return all
}

// lacks says what a box is not protected by, and what it can't be limited in.
func (f facts) lacks() []string {
	var all []string
	say := func(lacking bool, what string) {
		if lacking {
			all = append(all, what)
		}
	}
	say(!f.seccomp, "seccomp: the engine applies no filter")
	say(!f.appArmor && !f.seLinux, "AppArmor or SELinux: the engine has neither here")
	say(f.seLinux, "SELinux: its policy keeps containers from sockets of the machine, so it is off for boxes")
	say(!f.memory, "limit of memory: the engine can't keep it here")
	say(f.memory && !f.swap, "limit of swap: what is over the limit of memory may be swapped out")
	say(!f.cpus, "limit of processors: the engine can't keep it here")
	say(!f.pids, "limit of processes: the engine can't keep it here")
	say(os.Geteuid() != 0 && !f.rootless, "own user: boxes run as the supervisor's user, since only root can let another one to the wire")
	say(!f.liveRestore && !f.podman, "live restore: boxes end when the engine is stopped or updated (set \"live-restore\": true in /etc/docker/daemon.json)")
	say(f.warnings != "", f.warnings)
	return all
}
