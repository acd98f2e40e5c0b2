package container

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// nameOf returns the name of a box's container.
func nameOf(id string) string { return prefix + id }

// settings says what a container for a box is to be.
func (e *engine) settings(spec driver.Spec, image string, u user) client.ContainerCreateOptions {
	return client.ContainerCreateOptions{
		Name: nameOf(spec.ID),
		Config: &container.Config{
			Image:      image,
			Hostname:   "box",
			User:       fmt.Sprintf("%d:%d", u.uid, u.gid),
			Entrypoint: append(slices.Clone(spec.Program), WireFolder+"/"+filepath.Base(spec.Socket)),
			Cmd:        []string{},
			WorkingDir: "/",
			Env:        e.environment(spec.GPU),
			Labels: map[string]string{
				LabelBox: spec.ID, LabelDir: spec.Dir, LabelStage: spec.Stage, LabelClosure: spec.Files.Digest(),
			},
		},
		HostConfig: e.host(spec, u),
	}
}

// environment is what an engine is told to leave out. Docker takes a variable without a value as one
// to remove; Podman would take its own value for it, so there it is set to nothing.
func (e *engine) environment(gpu bool) []string {
	names := []string{"PATH", "HOSTNAME"}
	if e.podman {
		names = []string{"PATH=", "HOSTNAME=", "TERM=", "container="}
		for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy"} {
			names = append(names, name+"=", strings.ToUpper(name)+"=")
		}
	}
	if gpu {
		names = append(names, e.gpu.mode.environment()...)
	}
	return names
}

func (e *engine) host(spec driver.Spec, u user) *container.HostConfig {
	h := &container.HostConfig{
		NetworkMode:    "none",
		ReadonlyRootfs: true,
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		IpcMode:        container.IPCModeNone, // no /dev/shm to write to
		CgroupnsMode:   container.CgroupnsModePrivate,
		UsernsMode:     container.UsernsMode(u.userns),
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		LogConfig:      e.log(),
		Mounts: []mount.Mount{{
			Type: mount.TypeBind, Source: spec.Dir, Target: WireFolder, ReadOnly: true,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
		}},
		Resources: e.resources(spec.Limits),
	}
	if e.podman { // it lets programs write to these, though the root folder be read-only
		h.Tmpfs = map[string]string{}
		for _, name := range []string{"/tmp", "/run", "/var/tmp", "/dev/shm"} {
			h.Tmpfs[name] = "ro,mode=0555,size=4k"
		}
	}
	if e.seLinux { // its policy keeps containers from sockets of the machine
		h.SecurityOpt = append(h.SecurityOpt, "label=disable")
	}
	if spec.GPU {
		e.gpu.mode.apply(h)
	}
	return h
}

// podmanLog is the kind of log that Podman can read again, wherever it runs.
const podmanLog = "k8s-file"

// log has the engine keep a bounded log that can be read again.
func (e *engine) log() container.LogConfig {
	if e.podman {
		return container.LogConfig{Type: podmanLog, Config: map[string]string{"max-size": strconv.Itoa(LogSize)}}
	}
	size := strconv.Itoa(LogSize / LogFiles)
	return container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": size, "max-file": strconv.Itoa(LogFiles)}}
}

func (e *engine) resources(limits driver.Limits) container.Resources {
	r := container.Resources{Ulimits: e.ulimits()}
	if limits.Memory > 0 {
		r.Memory = limits.Memory
		if e.swap {
			r.MemorySwap = limits.Memory // memory and swap together: no swap
		}
	}
	if limits.CPUs > 0 {
		r.NanoCPUs = int64(math.Round(min(limits.CPUs, float64(e.processors)) * 1e9)) // engines refuse more than there are
	}
	if limits.PIDs > 0 {
		most := int64(limits.PIDs)
		r.PidsLimit = &most
	}
	return r
}

// What a box may have open, and start, if the supervisor may.
const (
	mostFiles     = 65536
	mostProcesses = 32768 // of the box's user, as Podman sets it
)

// ulimits bounds open files and allows no core dumps. Podman would ask for more than an engine without
// all privileges may give, so there it is told what this process has.
func (e *engine) ulimits() []*container.Ulimit {
	limits := []*container.Ulimit{{Name: "core"}}
	add := func(name string, resource int, most uint64) {
		var own unix.Rlimit
		if unix.Getrlimit(resource, &own) == nil {
			n := int64(min(own.Max, most)) // RLIM_INFINITY becomes -1, as engines write it
			limits = append(limits, &container.Ulimit{Name: name, Soft: n, Hard: n})
		}
	}
	add("nofile", unix.RLIMIT_NOFILE, mostFiles)
	if e.podman {
		add("nproc", unix.RLIMIT_NPROC, mostProcesses)
	}
	return limits
}

// confirm compares what an engine says that a container is with what was asked for: an engine may
// leave out what it doesn't know.
func confirm(got container.InspectResponse, want client.ContainerCreateOptions) error {
	if got.HostConfig == nil || got.Config == nil {
		return fmt.Errorf("the engine doesn't say what container %q is", want.Name)
	}
	g, w := got.HostConfig, want.HostConfig
	pids := func(n *int64) int64 {
		if n == nil || *n < 0 {
			return 0
		}
		return *n
	}
	if w.PidsLimit == nil { // Podman sets one of its own
		g.PidsLimit = nil
	}
	for _, check := range []struct {
		what string
		ok   bool
	}{
		{"network none", g.NetworkMode == "none"},
		{"a read-only root folder", g.ReadonlyRootfs},
		{"no privileges", !g.Privileged && len(g.CapAdd) == 0 && len(g.CapDrop) > 0},
		{"no-new-privileges", slices.ContainsFunc(g.SecurityOpt, func(s string) bool {
			return strings.HasPrefix(s, "no-new-privileges") && !strings.HasSuffix(s, "false")
		})},
		{"the user", got.Config.User == want.Config.User},
		{"the limit of memory", g.Memory == w.Memory},
		{"the limit of processors", nanoCPUs(g.Resources) == w.NanoCPUs},
		{"the limit of processes", pids(g.PidsLimit) == pids(w.PidsLimit)},
		{"no restart", g.RestartPolicy.Name == "" || g.RestartPolicy.Name == container.RestartPolicyDisabled},
		{"the log", g.LogConfig.Type == w.LogConfig.Type || w.LogConfig.Type == podmanLog}, // which it calls by another name
	} {
		if !check.ok {
			return fmt.Errorf("the engine did not take all that container %q was to be: %s", want.Name, check.what)
		}
	}
	return nil
}

// nanoCPUs returns the limit in either way that engines tell it.
func nanoCPUs(r container.Resources) int64 {
	if r.NanoCPUs == 0 && r.CPUPeriod > 0 && r.CPUQuota > 0 {
		return int64(math.Round(float64(r.CPUQuota) / float64(r.CPUPeriod) * 1e9))
	}
	return r.NanoCPUs
}

// ownUser is the user of a box whose engine maps none.
func ownUser(id string) int { return outlive.UserOf(id) }
