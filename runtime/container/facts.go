package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

// engine is a container engine that was looked at.
type engine struct {
	*link
	facts
	gpu      *gpuTrial
	trialDir string
}

// facts are what an engine says of itself.
type facts struct {
	name, version, apiVersion string
	podman, rootless          bool
	idBase                    int // what 0 inside is outside, where users are mapped; 0: they are not
	cgroup                    string
	memory, swap, cpus, pids  bool // limits that it can keep
	processors                int
	seccomp, appArmor         bool
	seLinux, liveRestore      bool
	runtimes                  []string
	logDrivers                []string
	warnings                  string
}

// same says that two looks found the same engine.
func (f facts) same(other facts) bool {
	return f.name == other.name && f.version == other.version && slices.Equal(f.runtimes, other.runtimes)
}

// leastAPI is the version of the API that is needed: Docker Engine 20.10.
const leastAPI = 41 // 1.41

// explore looks at the engine of an address.
func explore(ctx context.Context, host string) (*engine, error) {
	host, err := hostOf(host)
	if err != nil {
		return nil, err
	}
	e := &engine{link: &link{host: host}, gpu: &gpuTrial{}}
	var version client.ServerVersionResult
	var info client.SystemInfoResult
	err = e.call(ctx, func(ctx context.Context, api *client.Client) (err error) {
		if version, err = api.ServerVersion(ctx, client.ServerVersionOptions{}); err != nil {
			return err
		}
		info, err = api.Info(ctx, client.InfoOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	e.facts = factsOf(version, info.Info)
	_, minor, _ := strings.Cut(version.APIVersion, ".")
	if n, err := strconv.Atoi(minor); err != nil || n < leastAPI && strings.HasPrefix(version.APIVersion, "1.") {
		return nil, fmt.Errorf("%s speaks API version %q, not 1.%d or later: update it", e.facts, version.APIVersion, leastAPI)
	}
	if info.Info.OSType != "linux" {
		return nil, fmt.Errorf("%s runs containers of %q, not of linux", e.facts, info.Info.OSType)
	}
	return e, nil
}

func factsOf(version client.ServerVersionResult, info system.Info) facts {
	f := facts{
		name: "Docker Engine", version: version.Version, apiVersion: version.APIVersion,
		cgroup: "cgroup v" + info.CgroupVersion,
		memory: info.MemoryLimit, swap: info.SwapLimit, cpus: info.CPUCfsPeriod && info.CPUCfsQuota, pids: info.PidsLimit,
		processors: info.NCPU, liveRestore: info.LiveRestoreEnabled,
		logDrivers: info.Plugins.Log, warnings: strings.Join(info.Warnings, "; "),
	}
	for _, c := range version.Components {
		if strings.Contains(c.Name, "Podman") {
			f.name, f.podman, f.version = "Podman", true, c.Version
		}
	}
	for name := range info.Runtimes {
		f.runtimes = append(f.runtimes, name)
	}
	slices.Sort(f.runtimes)
	mapped := false
	for _, option := range info.SecurityOptions {
		words := strings.Split(option, ",")
		switch words[0] {
		case "name=seccomp":
			f.seccomp = !slices.Contains(words, "profile=unconfined")
		case "name=apparmor":
			f.appArmor = true
		case "name=selinux":
			f.seLinux = true
		case "name=rootless":
			f.rootless = true
		case "name=userns":
			mapped = true
		}
	}
	if mapped {
		f.idBase = idBaseOf(info.DockerRootDir)
	}
	return f
}

// idBaseOf reads the group that 0 is mapped to from the name of Docker's folder, which ends in
// <user>.<group> where users are mapped; -1 if it is of no such form.
func idBaseOf(dir string) int {
	_, group, ok := strings.Cut(filepath.Base(dir), ".")
	n, err := strconv.Atoi(group)
	if !ok || err != nil || n <= 0 {
		return -1
	}
	return n
}

// String names the engine with its version.
func (f facts) String() string { return f.name + " " + f.version }

// whole says all of what it is.
func (f facts) whole() string {
	mode := "as root"
	switch {
	case f.rootless:
		mode = "rootless"
	case f.idBase != 0:
		mode = "as root, users mapped"
	}
	return fmt.Sprintf("%s (API %s, %s, %s)", f, f.apiVersion, mode, f.cgroup)
}

// user is whom a box runs as, and how it comes to the wire.
type user struct {
	uid, gid int    // inside
	group    int    // outside, to be let through Spec.Dir; -1: it is the supervisor's user and needs none
	userns   string // mode of the user namespace
}

// nobody is the user of boxes where users are mapped: a high one of those that are there.
const nobody = 65532

// userOf returns the user of a box.
func (f facts) userOf(ownUser int) (user, error) {
	uid, gid := os.Geteuid(), os.Getegid()
	switch {
	case uid == 0 && f.rootless:
		return user{}, fmt.Errorf("%s is another user's: run the supervisor as that user, or use an engine that runs as root", f)
	case uid == 0 && f.idBase < 0:
		return user{}, fmt.Errorf("%s maps users in a way that is not known", f)
	case uid == 0 && f.idBase > 0:
		return user{nobody, nobody, f.idBase + nobody, ""}, nil
	case uid == 0:
		return user{ownUser, ownUser, ownUser, ""}, nil
	case f.rootless && f.podman:
		return user{uid, gid, -1, "keep-id"}, nil
	case f.rootless: // group 0 inside is the supervisor's outside; inside it may do no more than others
		return user{nobody, 0, gid, ""}, nil
	case f.idBase != 0:
		return user{}, fmt.Errorf("%s maps users, so the supervisor must be root to let boxes to their wires", f)
	}
	return user{uid, gid, -1, ""}, nil
}

// gpuTrial keeps whether a container gets the GPU.
type gpuTrial struct {
	mu   sync.Mutex
	mode gpuMode
	err  error
	at   time.Time
}
