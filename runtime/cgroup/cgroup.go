// Package cgroup makes, measures and removes the cgroups of boxes, of v1 and v2, where the supervisor
// may: as root, or in a part that was delegated to it.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

// Folder is below which the cgroups of boxes are made.
const Folder = "sightline"

// cpuPeriod is the kernel's default of what a limit of processors is measured over, in µs.
const cpuPeriod = 100_000

// Groups are the folders of one box's cgroup by controller: in cgroup v2 all the same, in v1 one
// each. Those that can't be had here are missing.
type Groups struct {
	Unified bool              `json:"unified,omitempty"` // cgroup v2
	Folders map[string]string `json:"folders,omitempty"` // by memory, cpu, cpuacct, pids; "" for v2 itself
}

// Check refuses folders that can't be a cgroup of the box.
func (g Groups) Check(id string) error {
	for controller, dir := range g.Folders {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || !strings.HasSuffix(dir, "/"+Folder+"/"+id) {
			return fmt.Errorf("%q is not the %s cgroup of box %q", dir, controller, id)
		}
	}
	return nil
}

// Of returns the groups for a box below the parents g.
func (g Groups) Of(id string) Groups {
	box := Groups{Unified: g.Unified, Folders: map[string]string{}}
	for controller, dir := range g.Folders {
		box.Folders[controller] = filepath.Join(dir, id)
	}
	return box
}

// Dirs returns each folder once.
func (g Groups) Dirs() []string {
	var dirs []string
	for _, dir := range g.Folders {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// Create makes the groups and sets the limits.
func (g Groups) Create(limits driver.Limits) error {
	for _, dir := range g.Dirs() {
		if err := makeGroup(dir); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	for _, s := range g.settings(limits) {
		if err := os.WriteFile(s.file, []byte(s.value), 0); err != nil && !(s.optional && errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("limit cgroup to %s: %w", s.value, err)
		}
	}
	return nil
}

// makeGroup makes a group and the one above it, which may go away with the last box in it.
func makeGroup(dir string) error {
	for range 8 {
		if err := os.Mkdir(filepath.Dir(dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%q goes away again and again", filepath.Dir(dir))
}

type setting struct {
	file, value string
	optional    bool // not every kernel has it
}

func (g Groups) settings(limits driver.Limits) []setting {
	var all []setting
	set := func(controller, v1, v2, value string, optional bool) {
		name := v1
		if g.Unified {
			name = v2
		}
		if dir, ok := g.Folders[controller]; ok && name != "" {
			all = append(all, setting{filepath.Join(dir, name), value, optional})
		}
	}
	if limits.Memory > 0 {
		bytes := strconv.FormatInt(limits.Memory, 10)
		set("memory", "memory.limit_in_bytes", "memory.max", bytes, false)
		set("memory", "memory.memsw.limit_in_bytes", "", bytes, true) // memory and swap together
		set("memory", "", "memory.swap.max", "0", true)
		set("memory", "", "memory.oom.group", "1", true)
	}
	if limits.CPUs > 0 {
		quota := strconv.FormatInt(max(1000, int64(limits.CPUs*cpuPeriod)), 10)
		set("cpu", "cpu.cfs_period_us", "", strconv.Itoa(cpuPeriod), false)
		set("cpu", "cpu.cfs_quota_us", "cpu.max", quota, false)
	}
	if limits.PIDs > 0 {
		set("pids", "pids.max", "pids.max", strconv.Itoa(limits.PIDs), false)
	}
	return all
}

// Procs returns the files through which a process joins.
func (g Groups) Procs() []string {
	var files []string
	for _, dir := range g.Dirs() {
		files = append(files, filepath.Join(dir, "cgroup.procs"))
	}
	return files
}

// Members returns the processes in the groups, as far as this process can see them.
func (g Groups) Members() []int {
	var pids []int
	for _, file := range g.Procs() {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, line := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// Kill kills all that is in the groups now, and says whether there was anything.
func (g Groups) Kill() bool {
	members := g.Members()
	if dir, ok := g.Folders[""]; ok && len(members) > 0 && g.Unified {
		if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
			return true
		}
	}
	for _, pid := range members {
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended by itself
	}
	return len(members) > 0
}

// Remove removes the groups, which must be empty. The kernel lets go of them a moment after the
// last process was seen to end.
func (g Groups) Remove(until time.Time) error {
	var errs []error
	for _, dir := range g.Dirs() {
		for {
			err := unix.Rmdir(dir)
			if err == unix.EBUSY && time.Now().Before(until) {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			if err != nil && err != unix.ENOENT {
				errs = append(errs, fmt.Errorf("remove cgroup %q: %w", dir, err))
			}
			break
		}
		if !g.Unified { // there the one above holds settings
			_ = unix.Rmdir(filepath.Dir(dir)) // not while it has other boxes
		}
	}
	return errors.Join(errs...)
}

// OutOfMemory says that the kernel has killed something in the group because of its limit.
func (g Groups) OutOfMemory() bool {
	name := "memory.oom_control"
	if g.Unified {
		name = "memory.events"
	}
	return g.value("memory", name, "oom_kill") > 0
}

// CPU returns the processor time used, and false when no group knows it.
func (g Groups) CPU() (time.Duration, bool) {
	if g.Unified {
		n := g.value("cpu", "cpu.stat", "usage_usec")
		if n < 0 {
			n = g.value("", "cpu.stat", "usage_usec")
		}
		return time.Duration(n) * time.Microsecond, n >= 0
	}
	n := g.value("cpuacct", "cpuacct.usage", "")
	return time.Duration(n), n >= 0
}

// value reads the number after key in a file of the group, or the only one; -1 if there is none.
func (g Groups) value(controller, name, key string) int64 {
	dir, ok := g.Folders[controller]
	if !ok {
		return -1
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return -1
	}
	return numberAfter(string(data), key)
}

func numberAfter(text, key string) int64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if key != "" && (len(fields) != 2 || fields[0] != key) || len(fields) == 0 {
			continue
		}
		if n, err := strconv.ParseInt(fields[len(fields)-1], 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}
