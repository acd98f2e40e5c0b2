package process

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

const statLine = `1234 (a) ((b %s) S 1 1200 1200 0 -1 4194560 147 0 0 0 12 34 0 0 20 0 5 0 987654 1234567 25 18446744073709551615 1 1 0 0 0 0 0 16781312 17663 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792` + "\n"

func TestTheStatusOfAProcessIsReadWhateverItsName(t *testing.T) {
	got, err := parseStat([]byte(statLine))
	want := stat{PID: 1234, State: 'S', Session: 1200, CPU: 460 * time.Millisecond, Started: 987654, RSS: 25 * int64(os.Getpagesize()), Exit: 7 << 8}
	if err != nil || got != want {
		t.Errorf("is %+v (%v) instead of %+v", got, err, want)
	}
	if s, err := readStat(os.Getpid()); err != nil || s.PID != os.Getpid() || s.dead() || s.Started == 0 || s.RSS == 0 {
		t.Errorf("of this process: %+v (%v)", s, err)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) S 1", strings.Replace(statLine, "987654", "x", 1)} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseStat(data) })
}

var goodRecord = `{"version":1,"id":"gate-1","boot":"b","uid":1900000001,"cgroups":{"folders":{"memory":"/sys/fs/cgroup/memory/sightline/gate-1"}},"pid":77,"started":5}`

// badRecords would have what isn't of the box killed or removed.
var badRecords = map[string]string{
	"empty":                        "",
	"cut off":                      goodRecord[:50],
	"of a later version":           strings.Replace(goodRecord, `"version":1`, `"version":2`, 1),
	"with an unknown word":         strings.Replace(goodRecord, `"pid"`, `"pids"`, 1),
	"with an ID that leaves":       strings.ReplaceAll(goodRecord, "gate-1", "../1"),
	"of the first process":         strings.Replace(goodRecord, ":77", ":1", 1),
	"of a process group":           strings.Replace(goodRecord, ":77", ":-77", 1),
	"with another's cgroup":        strings.Replace(goodRecord, "sightline/gate-1", "sightline/gate-2", 1),
	"with the cgroup of all":       strings.Replace(goodRecord, "/sightline/gate-1", "", 1),
	"with a cgroup that climbs up": strings.Replace(goodRecord, "/memory/", "/memory/../../../", 1),
}

func TestTheStateOfABoxIsCheckedBeforeItIsActedOn(t *testing.T) {
	r, err := parseRecord([]byte(goodRecord))
	if err != nil || r.PID != 77 || r.ID != "gate-1" || r.UID != 1900000001 || r.Started != 5 {
		t.Errorf("%+v (%v)", r, err)
	}
	for name, text := range badRecords {
		if r, err := parseRecord([]byte(text)); err == nil {
			t.Errorf("a state %s is taken: %+v", name, r)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(goodRecord))
	for _, text := range badRecords {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		for _, dir := range r.Groups.dirs() {
			if filepath.Base(dir) != r.ID || filepath.Base(filepath.Dir(dir)) != groupFolder {
				t.Errorf("%q is no group of %q", dir, r.ID)
			}
		}
		if r.PID == 1 || r.PID < 0 {
			t.Errorf("process %d", r.PID)
		}
	})
}

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
	v1 := groups{Folders: map[string]string{"memory": "/m", "cpu": "/c", "cpuacct": "/c", "pids": "/p"}}
	v2 := groups{Unified: true, Folders: map[string]string{"": "/u", "memory": "/u", "cpu": "/u", "pids": "/u"}}
	for _, test := range []struct {
		groups groups
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
	v1 := groups{Folders: map[string]string{"memory": dir, "cpuacct": dir}}
	v2 := groups{Unified: true, Folders: map[string]string{"": dir, "memory": dir}}
	if v1.outOfMemory() || !v2.outOfMemory() || (groups{}).outOfMemory() {
		t.Error("out of memory is mistaken")
	}
	if used, ok := v1.cpu(); !ok || used != 7*time.Microsecond {
		t.Errorf("v1 has used %v", used)
	}
	if used, ok := v2.cpu(); !ok || used != 1500*time.Microsecond {
		t.Errorf("v2 has used %v", used)
	}
	if _, ok := (groups{}).cpu(); ok {
		t.Error("no group has used something")
	}
}

func TestLandlockForbidsMoreWithEachVersion(t *testing.T) {
	last := unix.LandlockRulesetAttr{}
	for version := 1; version <= 7; version++ {
		attr := ruleset(version)
		if attr.Handled_access_fs&last.Handled_access_fs != last.Handled_access_fs || attr.Handled_access_net < last.Handled_access_net || attr.Scoped < last.Scoped {
			t.Errorf("version %d forbids less", version)
		}
		if attr.Handled_access_net != 0 && rulesetSize(version) < 16 || attr.Scoped != 0 && rulesetSize(version) < 24 {
			t.Errorf("version %d: not all is handed over", version)
		}
		last = attr
	}
}

func TestUsersOfBoxesAreInTheirRange(t *testing.T) {
	var seen []int
	for _, id := range []string{"a", "b", "gate-1", "gate-2", strings.Repeat("x", 63)} {
		uid := uidOf(id)
		if uid < firstUID || uid >= firstUID+manyUIDs || slices.Contains(seen, uid) || uid != uidOf(id) {
			t.Errorf("user %d of %q", uid, id)
		}
		seen = append(seen, uid)
	}
}

func TestWhatWasLeftByKilledTrialsIsStale(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{probeName() + "-1", probePrefix + "1", probePrefix + "4194305-1", probePrefix + "x", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := stale(dir), []string{filepath.Join(dir, probePrefix+"4194305-1")}; !slices.Equal(got, want) {
		t.Errorf("stale are %q instead of %q", got, want)
	}
}
