package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// Sockets returns where engines listen, in the order in which they are looked for: Docker's, of the
// system and of the user, then Podman's, of the user and of the system.
func Sockets() []string {
	var all []string
	run := os.Getenv("XDG_RUNTIME_DIR")
	all = append(all, "/run/docker.sock", "/var/run/docker.sock")
	if run != "" {
		all = append(all, filepath.Join(run, "docker.sock"), filepath.Join(run, "podman/podman.sock"))
	}
	return append(all, "/run/podman/podman.sock")
}

const howToGet = "install one with: sudo apt install docker.io   (or: sudo apt install podman && sudo systemctl enable --now podman.socket)"

// hostOf returns the address of the engine to use.
func hostOf(host string) (string, error) {
	if host == "" {
		host = os.Getenv("DOCKER_HOST")
	}
	if host == "" {
		for _, name := range Sockets() {
			if info, err := os.Stat(name); err == nil && info.Mode()&fs.ModeSocket != 0 {
				return "unix://" + name, nil
			}
		}
		return "", fmt.Errorf("no container engine listens on any of %s: %s", strings.Join(Sockets(), ", "), howToGet)
	}
	name, ok := strings.CutPrefix(host, "unix://")
	if !ok || !filepath.IsAbs(name) {
		return "", fmt.Errorf("container engine %q: only one of this machine can run boxes, by an address such as unix:///run/docker.sock, as it mounts the folder of the wire", host)
	}
	return host, nil
}

// link is a way to an engine that may be restarted, and replaced by another version, meanwhile.
type link struct {
	host string

	gone atomic.Uint64 // how often it was found not to listen

	mu  sync.Mutex
	now *client.Client // nil: to be made
}

// api returns a client. Clients agree with the engine on a version at their first call.
func (l *link) api() (*client.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		made, err := client.New(client.WithHost(l.host))
		if err != nil {
			return nil, fmt.Errorf("container engine %q: %w", l.host, err)
		}
		l.now = made
	}
	return l.now, nil
}

// listens asks whether the engine is there.
func (l *link) listens() bool {
	return nil == l.call(context.Background(), func(ctx context.Context, api *client.Client) error {
		_, err := api.Ping(ctx, client.PingOptions{})
		return err
	})
}

// lost has the next call made by a new client.
func (l *link) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		_ = l.now.Close() // of idle connections only
		l.now = nil
	}
}

// call runs one call of the API within a time of its own.
func (l *link) call(ctx context.Context, do func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return l.long(ctx, do)
}

// long runs a call that may take as long as ctx lets it.
func (l *link) long(ctx context.Context, do func(context.Context, *client.Client) error) error {
	api, err := l.api()
	if err != nil {
		return err
	}
	err = do(ctx, api)
	if err != nil && !said(err) && ctx.Err() == nil {
		l.lost()
		return l.explain(err)
	}
	return err
}

// said tells an answer of the engine from not having got one.
func said(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsConflict(err) || errdefs.IsInvalidArgument(err) || errdefs.IsPermissionDenied(err) || errdefs.IsNotModified(err)
}

// explain says why an engine can't be asked, and what to do.
func (l *link) explain(err error) error {
	if !client.IsErrConnectionFailed(err) {
		return err
	}
	l.gone.Add(1)
	name := strings.TrimPrefix(l.host, "unix://")
	switch cause := unix.Access(name, unix.R_OK|unix.W_OK); {
	case errors.Is(cause, fs.ErrPermission):
		return &UnreachableError{l.host, cause, "let the supervisor's user use it: sudo usermod -aG " + groupOf(name) + " " + userName() + ", then log in anew"}
	case errors.Is(cause, fs.ErrNotExist):
		return &UnreachableError{l.host, cause, "start the engine (sudo systemctl start docker, or podman.socket), or " + howToGet}
	}
	return &UnreachableError{l.host, err, "is it running? See: systemctl status docker"}
}

// UnreachableError says that an engine does not answer. It may later.
type UnreachableError struct {
	Host    string
	Err     error
	Instead string // what to do
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("container engine %q does not answer: %v (%s)", e.Host, e.Err, e.Instead)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// groupOf returns the name of the group of a file.
func groupOf(name string) string {
	var info unix.Stat_t
	if unix.Stat(name, &info) != nil {
		return "docker"
	}
	data, err := os.ReadFile("/etc/group")
	if err != nil {
		return "docker"
	}
	for line := range strings.Lines(string(data)) {
		if parts := strings.Split(line, ":"); len(parts) > 2 && parts[2] == strconv.Itoa(int(info.Gid)) {
			return parts[0]
		}
	}
	return strconv.Itoa(int(info.Gid))
}

func userName() string {
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	return "USER"
}
