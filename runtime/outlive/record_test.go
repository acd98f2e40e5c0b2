package outlive

import (
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/cgroup"
)

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
	r, err := ParseRecord([]byte(goodRecord))
	if err != nil || r.PID != 77 || r.ID != "gate-1" || r.UID != 1900000001 || r.Started != 5 {
		t.Errorf("%+v (%v)", r, err)
	}
	for name, text := range badRecords {
		if r, err := ParseRecord([]byte(text)); err == nil {
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
		r, err := ParseRecord(data)
		if err != nil {
			return
		}
		for _, dir := range r.Groups.Dirs() {
			if filepath.Base(dir) != r.ID || filepath.Base(filepath.Dir(dir)) != cgroup.Folder {
				t.Errorf("%q is no group of %q", dir, r.ID)
			}
		}
		if r.PID == 1 || r.PID < 0 {
			t.Errorf("process %d", r.PID)
		}
	})
}
