package drivertest

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

func isolation() []test {
	return []test{
		{"a box has its closure", testClosure},
		{"a box has no environment", testEnvironment},
		{"a box has no network", testNetwork},
		{"a box can't dial the wire of another", testOtherWire},
		{"a box reads nothing outside its closure", testReads},
		{"a box writes nowhere", testWrites},
		{"a box inherits no open file of its supervisor", testDescriptors},
		{"a box has no privileges, and gets none", testPrivileges},
		{"a box can't end its supervisor", testKillsNobody},
	}
}

func testClosure(t *testing.T, s *suite) {
	_, k := s.room(t).start()
	if got, ok := k.ask("read %s", DataPath); !ok || got != fmt.Sprintf("%q", Data) {
		t.Errorf("%s is %s", DataPath, got)
	}
}

func testEnvironment(t *testing.T, s *suite) {
	t.Setenv("SIGHTLINE_SUITE_SECRET", "not for boxes")
	_, k := s.room(t).start()
	if got, _ := k.ask("environment"); strings.Contains(got, "not for boxes") {
		t.Errorf("environment is %s", got)
	}
}

func testNetwork(t *testing.T, s *suite) {
	_, k := s.room(t).start()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	abstract, err := net.Listen("unix", "@sightline-suite-"+filepath.Base(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	k.ask("dial udp %s", udp.LocalAddr()) // a box may have a loopback of its own, on which it sends to nobody
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
		if answer, ok := k.ask("dial %s", to); ok {
			t.Errorf("dials %s: %s", to, answer)
		}
	}
}

func testOtherWire(t *testing.T, s *suite) {
	other := s.room(t)
	other.start()
	_, k := s.room(t).start()
	if answer, ok := k.ask("dial unix %s", other.spec.Socket); ok {
		t.Errorf("dials it: %s", answer)
	}
}

func testReads(t *testing.T, s *suite) {
	r := s.room(t)
	_, k := r.start()
	for _, path := range []string{s.workshop.secret, "/.." + s.workshop.secret, "/proc/1/root" + s.workshop.secret, "/proc/self/cwd/.." + s.workshop.secret, "/root/.bashrc", "/boot/config", r.spec.Dir + "/process.json"} {
		if text, ok := k.ask("read %s", path); ok {
			t.Errorf("reads %s: %s", path, text)
		}
	}
	if names, ok := k.ask("list %s", filepath.Dir(s.workshop.secret)); ok {
		t.Errorf("lists the folder of a secret: %s", names)
	}
}

func testWrites(t *testing.T, s *suite) {
	r := s.room(t)
	_, k := r.start()
	for _, path := range []string{"/new", "/stage", DataPath, "/model/new", filepath.Join(r.spec.Dir, "new"), filepath.Dir(s.workshop.secret) + "/new", s.workshop.secret, "/etc/new"} {
		if answer, ok := k.ask("write %s", path); ok {
			t.Errorf("writes %s: %s", path, answer)
		}
	}
}

func testDescriptors(t *testing.T, s *suite) {
	fd, err := unix.Open(s.workshop.secret, unix.O_RDONLY, 0) // is inherited by what is started
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const high = 700
	if err := unix.Dup3(fd, high, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	_, k := s.room(t).start()
	for _, fd := range []int{fd, high} {
		if _, ok := k.ask("descriptor %d", fd); ok {
			t.Errorf("reads from descriptor %d", fd)
		}
	}
}

func testPrivileges(t *testing.T, s *suite) {
	_, k := s.room(t).start()
	got, ok := k.ask("privileges")
	if !ok || !strings.HasSuffix(got, "no_new_privs=1 capabilities=0") || strings.HasPrefix(got, "uid=0 ") {
		t.Errorf("privileges: %s", got)
	}
	if answer, ok := k.ask("namespace"); ok {
		t.Errorf("makes a namespace: %s", answer)
	}
}

func testKillsNobody(t *testing.T, s *suite) {
	victim, killer := s.room(t), s.room(t)
	_, lives := victim.start()
	_, k := killer.start()
	pid, err := peer(lives.conn)
	if err != nil {
		t.Skip(err) // the wire doesn't come from a process of this machine
	}
	if answer, ok := k.ask("kill %d", pid); ok {
		t.Errorf("kills the process of another box: %s", answer)
	}
	lives.ask("ping")
}

func limits() []test {
	return []test{
		{"a box that eats too much memory dies alone, and says why", testMemory},
		{"a box has no more processes than it may", testPIDs},
		{"a box gets no more of the processors than it may", testCPUs},
		{"a limit that makes no sense is refused", testSenseless},
	}
}

// limited starts a box with limits; where the driver refuses it, it must say why, and beforehand.
func (r *room) limited(limits driver.Limits) (driver.Box, *talk) {
	r.t.Helper()
	r.spec.Limits = limits
	box, err := r.driver.Start(r.t.Context(), r.spec)
	var refused *driver.RefusedError
	if errors.As(err, &refused) {
		r.checkRefusal(refused)
		r.t.Skipf("refused, and rightly said so: %v", refused)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.owns(box)
	return box, r.hello()
}

func (r *room) checkRefusal(refused *driver.RefusedError) {
	r.t.Helper()
	if refused.What == "" || refused.Why == "" || refused.Instead == "" {
		r.t.Errorf("a refusal that doesn't say all: %#v", refused)
	}
	if checker, ok := r.driver.(driver.Checker); ok {
		if err := checker.Check(r.spec); err == nil || err.Error() != refused.Error() {
			r.t.Errorf("start refuses with %q, check with %v", refused, err)
		}
	}
}

func testMemory(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.limited(driver.Limits{Memory: 128 << 20})
	_, other := s.room(t).start()
	if answer, ok := k.ask("eat %d", 16<<20); !ok {
		t.Fatalf("eats within its limit: %s", answer)
	}
	k.tell("eat %d", 512<<20)
	if exit := r.ended(box); exit.Reason != "out of memory" {
		t.Errorf("exit is %q", exit)
	}
	other.ask("ping")
}

func testPIDs(t *testing.T, s *suite) {
	const most = 48
	_, k := s.room(t).limited(driver.Limits{PIDs: most})
	answer, ok := k.ask("fork %d", 4*most)
	var started int
	if _, err := fmt.Sscan(answer, &started); !ok || err != nil || started >= most {
		t.Errorf("started %s processes", answer)
	}
	k.ask("ping")
}

func testCPUs(t *testing.T, s *suite) {
	const most = 0.2
	_, k := s.room(t).limited(driver.Limits{CPUs: most})
	answer, _ := k.ask("burn 1000")
	var used, wall int64
	if _, err := fmt.Sscan(answer, &used, &wall); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	if got := float64(used) / float64(wall); got > 2*most { // it may start with a quota unused
		t.Errorf("used %.2f processors with a limit of %g", got, most)
	}
}

func testSenseless(t *testing.T, s *suite) {
	for _, limits := range []driver.Limits{{Memory: -1}, {CPUs: -1}, {PIDs: -1}, {PIDs: 1}, {Memory: 1}} {
		r := s.room(t)
		r.spec.Limits = limits
		var refused *driver.RefusedError
		if err := r.refuses("refuses"); !errors.As(err, &refused) {
			t.Errorf("error %v is no refusal", err)
		} else {
			r.checkRefusal(refused)
		}
	}
}
