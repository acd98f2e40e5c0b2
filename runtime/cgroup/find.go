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

	"golang.org/x/sys/unix"
)

// Folder names by which a supervisor's own leaf in cgroup v2 is known: systemd makes it with
// Delegate=yes and DelegateSubgroup=supervisor; otherwise it is made here.
const supervisorLeaf = "supervisor"

// controllers are those that boxes are measured and limited by.
func controllers() []string { return []string{"memory", "cpu", "cpuacct", "pids"} }

// hierarchy is a mounted hierarchy of cgroups and where this process is in it.
type hierarchy struct {
	controllers []string // of cgroup v1; nil for v2
	mount       string
	own         string // folder of this process
}

// hierarchies reads /proc/self/mountinfo and /proc/self/cgroup (cgroups(7), proc_pid_mountinfo(5)).
func hierarchies(mountinfo, cgroup string) []hierarchy {
	paths := map[string]string{} // by controller; "" for v2
	for line := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, c := range strings.Split(parts[1], ",") {
			paths[c] = parts[2]
		}
	}
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		if h, ok := parseMount(line, paths); ok {
			found = append(found, h)
		}
	}
	return found
}

func parseMount(line string, paths map[string]string) (hierarchy, bool) {
	before, after, ok := strings.Cut(line, " - ")
	front, back := strings.Fields(before), strings.Fields(after)
	if !ok || len(front) < 6 || len(back) < 3 {
		return hierarchy{}, false
	}
	h := hierarchy{mount: unescape(front[4])}
	key := ""
	switch back[0] {
	case "cgroup2":
	case "cgroup":
		h.controllers = slices.DeleteFunc(strings.Split(back[2], ","), func(c string) bool { return !slices.Contains(controllers(), c) })
		if len(h.controllers) == 0 {
			return hierarchy{}, false
		}
		key = h.controllers[0]
	default:
		return hierarchy{}, false
	}
	own, ok := paths[key]
	if !ok {
		return hierarchy{}, false
	}
	h.own = h.mount // a mount from inside another root shows no more than this
	if rel, err := filepath.Rel(unescape(front[3]), own); err == nil && filepath.IsLocal(rel) {
		h.own = filepath.Join(h.mount, rel)
	}
	return h, true
}

// unescape turns the octal escapes of mountinfo back.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// Missing is why the controllers that can't be had are missing, by their names.
type Missing map[string]error

// Why says why there is no such controller.
func (m Missing) Why(controller string) string {
	if err := m[controller]; err != nil {
		return err.Error()
	}
	return "there is no " + controller + " cgroup"
}

// Find returns the folders in which cgroups of boxes can be made, tried, and what is missing.
func Find(unifiedOnly bool) (Groups, Missing) {
	mountinfo, err1 := os.ReadFile("/proc/self/mountinfo")
	cgroup, err2 := os.ReadFile("/proc/self/cgroup")
	if err := errors.Join(err1, err2); err != nil {
		return Groups{}, forAll(err)
	}
	all := hierarchies(string(mountinfo), string(cgroup))
	if found, errs := findV1(all); !unifiedOnly && len(found.Folders)+len(errs) > 0 {
		return found, errs
	}
	for _, h := range all {
		if h.controllers == nil {
			return findV2(h)
		}
	}
	return Groups{}, forAll(errors.New("no cgroups are mounted"))
}

func forAll(err error) Missing {
	errs := Missing{}
	for _, c := range controllers() {
		errs[c] = err
	}
	return errs
}

func findV1(all []hierarchy) (Groups, Missing) {
	found, errs := Groups{Folders: map[string]string{}}, Missing{}
	for _, h := range all {
		if h.controllers == nil {
			continue
		}
		dir := filepath.Join(h.own, Folder)
		err := try(dir)
		_ = os.Remove(dir) // made again for each box; not while there are others
		for _, c := range h.controllers {
			if err != nil {
				errs[c] = fmt.Errorf("cgroup v1: %w", err)
			} else {
				found.Folders[c] = dir
			}
		}
	}
	return found, errs
}

// probePrefix begins the names of groups and folders that are only for trying.
const probePrefix = "sightline-probe-"

// ProbeName begins the names of what is made only for trying; it has this process in it.
func ProbeName() string { return probePrefix + strconv.Itoa(os.Getpid()) }

// Stale returns what processes have in dir that were killed while they tried.
func Stale(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, probePrefix+"*")) // the pattern is good
	return slices.DeleteFunc(names, func(name string) bool {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), probePrefix), "-")
		pid, err := strconv.Atoi(id)
		_, statErr := os.Stat("/proc/" + strconv.Itoa(pid))
		var info unix.Stat_t
		return err != nil || !errors.Is(statErr, fs.ErrNotExist) || unix.Lstat(name, &info) != nil || int(info.Uid) != os.Geteuid()
	})
}

// try makes a group below dir for a moment, and removes those of processes that were killed at it.
func try(dir string) error {
	for _, name := range Stale(dir) {
		_ = os.Remove(name) // another may be faster
	}
	probe := filepath.Join(dir, ProbeName())
	if err := makeGroup(probe); err != nil {
		if at := (*fs.PathError)(nil); errors.As(err, &at) {
			err = at.Err // the path is another each time
		}
		return fmt.Errorf("make a group below %s: %w", filepath.Dir(dir), err)
	}
	return os.Remove(probe)
}

func findV2(h hierarchy) (Groups, Missing) {
	parent, err := parentV2(h)
	if err != nil {
		return Groups{}, forAll(err)
	}
	dir := filepath.Join(parent, Folder)
	if err := try(dir); err != nil {
		return Groups{}, forAll(fmt.Errorf("cgroup v2: %w", err))
	}
	found, errs := Groups{Unified: true, Folders: map[string]string{"": dir}}, Missing{}
	for _, c := range []string{"memory", "cpu", "pids"} {
		if err := enable(c, parent, dir); err != nil {
			errs[c] = fmt.Errorf("cgroup v2 without the %s controller: %w", c, err)
			continue
		}
		found.Folders[c] = dir
	}
	return found, errs
}

// enable lets the groups below the folders have a controller.
func enable(controller string, dirs ...string) error {
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
			return err
		}
	}
	return nil
}

// parentV2 returns the group below which groups with controllers can be made: one that has no
// processes itself, or the root of all.
func parentV2(h hierarchy) (string, error) {
	if filepath.Base(h.own) == supervisorLeaf {
		return filepath.Dir(h.own), nil
	}
	if _, err := os.Stat(filepath.Join(h.own, "cgroup.type")); errors.Is(err, fs.ErrNotExist) {
		return h.own, nil // only the root lacks the file
	}
	if alone(h.own) && moveToLeaf(h.own) == nil {
		return h.own, nil
	}
	if os.Geteuid() == 0 {
		return h.mount, nil
	}
	return "", fmt.Errorf("cgroup v2: %q is not delegated (under systemd: Delegate=yes and DelegateSubgroup=%s)", h.own, supervisorLeaf)
}

// alone says that this process is the only one in a group.
func alone(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return err == nil && strings.TrimSpace(string(data)) == strconv.Itoa(os.Getpid())
}

func moveToLeaf(dir string) error {
	leaf := filepath.Join(dir, supervisorLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}
