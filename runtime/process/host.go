package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sightline/runtime/cgroup"
	"sightline/runtime/driver"
	"sightline/runtime/landlock"
	"sightline/runtime/outlive"
)

// host is what this machine lets the supervisor do, found by trying.
type host struct {
	way      way
	landlock int // version; 0: none
	seccomp  bool
	groups   cgroup.Groups // parents of the boxes' groups
	lacks    []string
	without  cgroup.Missing
}

// way is how far a box can be set apart.
type way struct {
	namespaces bool // its own root, network, processes, host name and IPC
	user       bool // made in a user namespace, as the supervisor isn't root
	ownUser    bool // runs as a user that nothing else runs as
	proc       bool // /proc can be mounted
}

// ways are all, the best first.
func ways() []way {
	if os.Geteuid() == 0 {
		return []way{
			{namespaces: true, ownUser: true, proc: true},
			{namespaces: true, ownUser: true},
			{ownUser: true},
			{},
		}
	}
	return []way{
		{namespaces: true, user: true, proc: true},
		{namespaces: true, user: true},
		{},
	}
}

// explore tries what works here, the best way first.
func (d *Driver) explore(ctx context.Context) (*host, error) {
	among := d.ways
	if among == nil {
		among = ways()
	}
	h := &host{landlock: landlock.Version(), seccomp: haveSeccomp()}
	h.groups, h.without = cgroup.Find(d.unified)
	var errs []error
	for _, w := range among {
		h.way = w
		err := h.try(ctx, d.command())
		if err == nil {
			h.lacks = h.missing(errs)
			return h, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no process box can be started: %w", errors.Join(errs...))
}

// try takes all steps to a box but the last in the present way.
func (h *host) try(ctx context.Context, command []string) (err error) {
	for _, name := range cgroup.Stale(os.TempDir()) {
		_ = os.RemoveAll(name) // another may be faster
	}
	dir, err := os.MkdirTemp("", cgroup.ProbeName()+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	folder, wire := filepath.Join(dir, "closure"), filepath.Join(dir, "wire")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(folder, 0o755), os.Mkdir(wire, 0o755), os.Mkdir(filepath.Join(dir, rootDir), 0o755)); err != nil {
		return err
	}
	o := h.order(folder, wire, dir, outlive.UserOf(filepath.Base(dir)))
	o.Trial = true
	l := &launch{command: command, way: h.way, order: o}
	child, err := l.fork()
	if err != nil {
		return err
	}
	err = l.release(ctx)
	if err != nil {
		_ = child.Kill() // may have ended
	}
	_, waitErr := child.Wait()
	return errors.Join(err, waitErr)
}

// order returns what every box of this host is told, without its program.
func (h *host) order(folder, wire, dir string, uid int) *order {
	o := &order{Folder: folder, Wire: wire, Cwd: folder, Proc: h.way.proc, Landlock: h.landlock, Seccomp: h.seccomp}
	if h.way.namespaces {
		o.Root, o.Cwd = filepath.Join(dir, rootDir), "/"
	}
	if h.way.ownUser {
		o.UID = uid
	}
	return o
}

// missing says what a box is not protected by.
func (h *host) missing(errs []error) []string {
	var lacks []string
	say := func(lacking bool, format string, args ...any) {
		if lacking {
			lacks = append(lacks, fmt.Sprintf(format, args...))
		}
	}
	reason := func() string {
		if len(errs) == 0 {
			return "not tried"
		}
		return errs[0].Error()
	}
	say(!h.way.namespaces, "root folder and processes of its own, and unix sockets that its user may dial are in its reach: %s", reason())
	say(!h.way.namespaces && !h.seccomp, "network none: %s", reason())
	say(h.way.namespaces && !h.way.proc, "/proc: %s", reason())
	say(!h.way.ownUser && os.Geteuid() != 0, "user of its own: the supervisor is not root, boxes run as its user")
	say(!h.way.ownUser && os.Geteuid() == 0, "user of its own: %s", reason())
	say(h.landlock == 0, "Landlock: the kernel doesn't have it (Linux 5.13 or later, CONFIG_SECURITY_LANDLOCK)")
	say(!h.seccomp, "seccomp: the kernel doesn't have it (CONFIG_SECCOMP_FILTER)")
	for _, c := range limitable() {
		say(!h.enforces(c), "limits of %s: %s", c, h.without.Why(c))
	}
	return lacks
}

// Probe implements driver.Driver.
func (d *Driver) Probe(ctx context.Context) driver.Probe {
	var name unix.Utsname
	p := driver.Probe{Engine: "Linux"}
	if err := unix.Uname(&name); err == nil {
		p.Engine += " " + unix.ByteSliceToString(name.Release[:])
	}
	h, err := d.host(ctx)
	if err != nil {
		p.Err = err
		return p
	}
	p.Protect, p.Lacks = h.protects(), slices.Clone(h.lacks)
	return p
}

func (h *host) protects() []string {
	protect := []string{"session of its own", "no environment", "no_new_privs", "no capabilities", "rlimits"}
	if h.way.namespaces {
		protect = append(protect, "closure as read-only root", "network none", "processes of its own")
	}
	if !h.way.namespaces && h.seccomp {
		protect = append(protect, "network none, by seccomp")
	}
	if h.way.user {
		protect = append(protect, "user namespace")
	}
	if h.way.ownUser {
		protect = append(protect, "user of its own")
	}
	if h.landlock > 0 {
		protect = append(protect, fmt.Sprintf("Landlock %d", h.landlock))
	}
	if h.seccomp {
		protect = append(protect, "seccomp")
	}
	if limits := h.limits(); len(limits) > 0 {
		version := "v1"
		if h.groups.Unified {
			version = "v2"
		}
		protect = append(protect, "limits of "+strings.Join(limits, ", ")+" (cgroup "+version+")")
	}
	return protect
}

// limitable are the controllers that a limit can be asked for of.
func limitable() []string { return []string{"memory", "cpu", "pids"} }

func (h *host) limits() []string {
	var limits []string
	for _, c := range limitable() {
		if _, ok := h.groups.Folders[c]; ok {
			limits = append(limits, c)
		}
	}
	return limits
}
