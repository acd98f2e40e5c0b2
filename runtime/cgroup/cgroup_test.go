package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"sightline/runtime/driver"
)

const mountsV1 = `25 1 0:22 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup/unified rw shared:3 - cgroup2 cgroup2 rw
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:4 - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 /docker/abc /sys/fs/cgroup/mem\040ory rw - cgroup cgroup rw,memory
33 25 0:29 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
34 25 0:30 /elsewhere /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
nonsense
`

const cgroupsV1 = "11:memory:/docker/abc/own\n4:cpu,cpuacct:/user.slice\n5:pids:/docker/abc\n3:freezer:/\n0::/system.slice/sightline.service\n"

func TestHierarchiesOfCgroupsAreFound(t *testing.T) {
	got := hierarchies(mountsV1, cgroupsV1)
	want := []hierarchy{
		{mount: "/sys/fs/cgroup/unified", own: "/sys/fs/cgroup/unified/system.slice/sightline.service"},
		{[]string{"cpu", "cpuacct"}, "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/user.slice"},
		{[]string{"memory"}, "/sys/fs/cgroup/mem ory", "/sys/fs/cgroup/mem ory/own"},
		{[]string{"pids"}, "/sys/fs/cgroup/pids", "/sys/fs/cgroup/pids"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %q instead of %q", got, want)
	}
}

func FuzzHierarchies(f *testing.F) {
	f.Add(mountsV1, cgroupsV1)
	f.Fuzz(func(t *testing.T, mounts, cgroups string) {
		for _, h := range hierarchies(mounts, cgroups) {
			if rel, err := filepath.Rel(h.mount, h.own); err == nil && !filepath.IsLocal(rel) {
				t.Errorf("%q is outside %q", h.own, h.mount)
			}
		}
	})
}

func TestLimitsBecomeSettings(t *testing.T) {
	limits := driver.Limits{Memory: 64 << 20, CPUs: 1.5, PIDs: 20}
	v1 := Groups{Folders: map[string]string{"memory": "/m", "cpu": "/c", "cpuacct": "/c", "pids": "/p"}}
	v2 := Groups{Unified: true, Folders: map[string]string{"": "/u", "memory": "/u", "cpu": "/u", "pids": "/u"}}
	for _, test := range []struct {
		groups Groups
		want   map[string]string
	}{
		{v1, map[string]string{"/m/memory.limit_in_bytes": "67108864", "/m/memory.memsw.limit_in_bytes": "67108864", "/c/cpu.cfs_period_us": "100000", "/c/cpu.cfs_quota_us": "150000", "/p/pids.max": "20"}},
		{v2, map[string]string{"/u/memory.max": "67108864", "/u/memory.swap.max": "0", "/u/memory.oom.group": "1", "/u/cpu.max": "150000", "/u/pids.max": "20"}},
	} {
		got := map[string]string{}
		for _, s := range test.groups.settings(limits) {
			got[s.file] = s.value
		}
		if !maps.Equal(got, test.want) {
			t.Errorf("%v instead of %v", got, test.want)
		}
		if more := test.groups.settings(driver.Limits{}); len(more) != 0 {
			t.Errorf("without limits: %v", more)
		}
	}
}

func TestWhatAGroupHasUsedIsRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"memory.events": "low 0\noom 4\noom_kill 2\n", "cpu.stat": "usage_usec 1500\nuser_usec 1000\n",
		"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "cpuacct.usage": "7000\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v1 := Groups{Folders: map[string]string{"memory": dir, "cpuacct": dir}}
	v2 := Groups{Unified: true, Folders: map[string]string{"": dir, "memory": dir}}
	if v1.OutOfMemory() || !v2.OutOfMemory() || (Groups{}).OutOfMemory() {
		t.Error("out of memory is mistaken")
	}
	if used, ok := v1.CPU(); !ok || used != 7*time.Microsecond {
		t.Errorf("v1 has used %v", used)
	}
	if used, ok := v2.CPU(); !ok || used != 1500*time.Microsecond {
		t.Errorf("v2 has used %v", used)
	}
	if _, ok := (Groups{}).CPU(); ok {
		t.Error("no group has used something")
	}
}

func TestWhatWasLeftByKilledTrialsIsStale(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{ProbeName() + "-1", probePrefix + "1", probePrefix + "4194305-1", probePrefix + "x", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := Stale(dir), []string{filepath.Join(dir, probePrefix+"4194305-1")}; !slices.Equal(got, want) {
		t.Errorf("stale are %q instead of %q", got, want)
	}
}
