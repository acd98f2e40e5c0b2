package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/runtime/supervisor"
)

// manager is the socket of a service manager, in a folder with a short name.
func manager(t *testing.T) (socket *net.UnixConn, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nf") // paths of sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	socket, err = net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", at.Name)
	return socket, dir
}

// told awaits what a service says next.
func told(t *testing.T, from *net.UnixConn) string {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 4096)
	n, err := from.Read(message)
	if err != nil {
		t.Fatal(err)
	}
	return string(message[:n])
}

func TestTheServiceManagerIsToldHowTheSupervisorDoes(t *testing.T) {
	for name, test := range map[string]struct {
		watchdog string // in microseconds
		want     []string
	}{
		"with a watchdog": {"150000", []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"}},
		"without":         {"", []string{"READY=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			from, dir := manager(t)
			t.Setenv("WATCHDOG_USEC", test.watchdog)
			t.Setenv("WATCHDOG_PID", "")
			super, err := supervisor.Open(filepath.Join(dir, "state"), supervisor.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer super.Close()
			s := &station{super: super, log: slog.New(slog.DiscardHandler)}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			go func() { ended <- s.notify(ctx) }()
			for _, want := range test.want {
				if got := told(t, from); got != want {
					t.Fatalf("it says %q, not %q", got, want)
				}
			}
			s.file.follow("front.yaml")
			s.file.refuse("gate put back: the stage says\nMAINPID=1")
			s.statusLine()
			s.reloading()()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			var rest []string
			for len(rest) == 0 || rest[len(rest)-1] != "STOPPING=1" {
				if text := told(t, from); text != "WATCHDOG=1" {
					rest = append(rest, text)
				}
			}
			if len(rest) != 4 || !strings.HasPrefix(rest[0], "STATUS=front.yaml") || strings.Contains(rest[0], "\n") ||
				!strings.HasPrefix(rest[1], "RELOADING=1\nMONOTONIC_USEC=") || rest[2] != "READY=1" {
				t.Errorf("it says %q", rest)
			}
		})
	}
}
