package drivertest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// captive is a box that looks for what it may not have, and another one beside it. The tests of isolation
// share both, as none of them changes what the next one finds.
type captive struct {
	*suite
	room, other   *room
	talk, beside  *talk
	secret, again int // descriptors of this process that lead to a file outside the closure
}

type lookout struct {
	name string
	run  func(*testing.T, *captive)
}

// secretVariable is in the environment of the supervisor.
const secretVariable = "SIGHTLINE_SUITE_SECRET"

func isolation(t *testing.T, s *suite) {
	c := s.captive(t)
	for _, test := range []lookout{
		{"a box inherits no open file of its supervisor", testDescriptors},
		{"a box has its closure", testClosure},
		{"a box has no environment", testEnvironment},
		{"a box has no network", testNetwork},
		{"a box can't dial the wire of another", testOtherWire},
		{"a box reads nothing outside its closure", testReads},
		{"a box writes nowhere", testWrites},
		{"a box has no privileges, and gets none", testPrivileges},
		{"a box can't end its supervisor", testKillsNobody},
	} {
		t.Run(test.name, func(t *testing.T) {
			if why, ok := s.Skip[test.name]; ok {
				t.Skip(why)
			}
			c.talk.t, c.beside.t = t, t
			test.run(t, c)
		})
	}
	c.talk.t, c.beside.t = t, t
}

// captive starts both boxes, with a supervisor that has a secret in its environment and among its open
// files.
func (s *suite) captive(t *testing.T) *captive {
	t.Helper()
	t.Setenv(secretVariable, "not for boxes")
	fd, err := unix.Open(s.workshop.secret, unix.O_RDONLY, 0) // is inherited by what is started
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	const high = 700
	if err := unix.Dup3(fd, high, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(high) })
	c := &captive{suite: s, room: s.room(t), other: s.room(t), secret: fd, again: high}
	_, c.beside = c.other.start()
	_, c.talk = c.room.start()
	return c
}

func testClosure(t *testing.T, c *captive) {
	if got, ok := c.talk.ask("read %s", DataPath); !ok || got != fmt.Sprintf("%q", Data) {
		t.Errorf("%s is %s", DataPath, got)
	}
}

func testEnvironment(t *testing.T, c *captive) {
	if got, _ := c.talk.ask("environment"); strings.Contains(got, "not for boxes") {
		t.Errorf("environment is %s", got)
	}
}

func testNetwork(t *testing.T, c *captive) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	abstract, err := net.Listen("unix", fmt.Sprintf("@sightline-suite-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	c.talk.ask("dial udp %s", udp.LocalAddr()) // a box may have a loopback of its own, on which it sends to nobody
	if err := udp.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := udp.ReadFrom(make([]byte, 1)); err == nil {
		t.Error("sends to this machine")
	}
	for _, to := range []string{
		"tcp " + tcp.Addr().String(), "tcp [::1]:22", "tcp 192.0.2.1:80", "udp 192.0.2.1:53",
		"unix " + abstract.Addr().String(),
	} {
		if answer, ok := c.talk.ask("dial %s", to); ok {
			t.Errorf("dials %s: %s", to, answer)
		}
	}
}

func testOtherWire(t *testing.T, c *captive) {
	if answer, ok := c.talk.ask("dial unix %s", c.other.spec.Socket); ok {
		t.Errorf("dials it: %s", answer)
	}
}

func testReads(t *testing.T, c *captive) {
	secret := c.workshop.secret
	for _, path := range []string{secret, "/.." + secret, "/proc/1/root" + secret, "/proc/self/cwd/.." + secret, "/root/.bashrc", "/boot/config", c.room.spec.Dir + "/process.json"} {
		if text, ok := c.talk.ask("read %s", path); ok {
			t.Errorf("reads %s: %s", path, text)
		}
	}
	if names, ok := c.talk.ask("list %s", filepath.Dir(secret)); ok {
		t.Errorf("lists the folder of a secret: %s", names)
	}
}

func testWrites(t *testing.T, c *captive) {
	secret := c.workshop.secret
	for _, path := range []string{"/new", "/stage", DataPath, "/model/new", filepath.Join(c.room.spec.Dir, "new"), filepath.Dir(secret) + "/new", secret, "/etc/new"} {
		if answer, ok := c.talk.ask("write %s", path); ok {
			t.Errorf("writes %s: %s", path, answer)
		}
	}
}

func testDescriptors(t *testing.T, c *captive) {
	for _, fd := range []int{c.secret, c.again} {
		if _, ok := c.talk.ask("descriptor %d", fd); ok {
			t.Errorf("reads from descriptor %d", fd)
		}
	}
}

func testPrivileges(t *testing.T, c *captive) {
	got, ok := c.talk.ask("privileges")
	if !ok || !strings.HasSuffix(got, "no_new_privs=1 capabilities=0") || strings.HasPrefix(got, "uid=0 ") {
		t.Errorf("privileges: %s", got)
	}
	if answer, ok := c.talk.ask("namespace"); ok {
		t.Errorf("makes a namespace: %s", answer)
	}
}

func testKillsNobody(t *testing.T, c *captive) {
	pid, err := peer(c.beside.conn)
	if err != nil {
		t.Skip(err) // the wire doesn't come from a process of this machine
	}
	if answer, ok := c.talk.ask("kill %d", pid); ok {
		t.Errorf("kills the process of another box: %s", answer)
	}
	c.beside.ask("ping")
}
