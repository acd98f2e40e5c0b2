package enginetest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// close stops the engine and removes all that there is of it. What should have gone by itself fails
// the test.
func (e *Engine) close() {
	if e.process != nil {
		if e.tidy != nil {
			e.tidy()
		}
		e.Stop()
	}
	for range 3 { // what is killed may have had children
		e.killAll()
	}
	for _, mount := range e.mounts() {
		_ = unix.Unmount(mount, unix.MNT_DETACH) // it may have gone with the one above it
	}
	if left := e.mounts(); len(left) > 0 {
		e.t.Errorf("mounts are left: %q", left)
	}
	e.removeCgroups()
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Error(err)
	}
}

// processes returns what runs of the engine: in its cgroup, or with its folder in the command line.
func (e *Engine) processes() []int {
	var found []int
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, _ := os.ReadFile(name + "/cmdline") // gone meanwhile
		cgroup, _ := os.ReadFile(name + "/cgroup")
		if bytes.Contains(line, []byte(e.dir+"/")) || bytes.Contains(cgroup, []byte("/"+e.cgroup)) {
			found = append(found, pid)
		}
	}
	return found
}

func (e *Engine) killAll() {
	until := time.Now().Add(patience)
	for {
		all := e.processes()
		if len(all) == 0 {
			return
		}
		for _, pid := range all {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		if time.Now().After(until) {
			e.t.Errorf("processes are left: %v", all)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// mounts returns what is mounted in the engine's folder, the last first.
func (e *Engine) mounts() []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		e.t.Error(err)
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], e.dir+"/") {
			found = append(found, fields[4])
		}
	}
	slices.Reverse(found)
	return found
}

// podmanCgroup is where Podman puts all containers, whosever they are.
const podmanCgroup = "libpod_parent"

// removeCgroups removes the engine's cgroups, of v1 and v2, and Podman's common one if it is empty.
func (e *Engine) removeCgroups() {
	for _, pattern := range []string{
		"/sys/fs/cgroup/" + e.cgroup, "/sys/fs/cgroup/*/" + e.cgroup,
		"/sys/fs/cgroup/" + podmanCgroup, "/sys/fs/cgroup/*/" + podmanCgroup,
	} {
		tops, _ := filepath.Glob(pattern) // the pattern is good
		for _, top := range tops {
			var dirs []string
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error { // what can't be read has gone
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			slices.Reverse(dirs)
			for _, dir := range dirs {
				_ = unix.Rmdir(dir) // the kernel may keep it a moment; it is empty
			}
		}
	}
}
