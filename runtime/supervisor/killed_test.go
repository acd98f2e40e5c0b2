package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
	"sightline/runtime/process"
)

const superviseArgument = "sightline-supervisor-test"

func TestMain(m *testing.M) {
	if code, ok := process.Main(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) == 3 && os.Args[1] == superviseArgument {
		if err := supervise(os.Args[2]); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// errand is what a supervisor in another process does.
type errand struct {
	State, Store string
	Stages       []errandStage
	Settle       time.Duration
}

type errandStage struct {
	Name, Settings string
	Digest         closure.Digest
	Argument       string
}

func (e errand) plan(kept *store.Store, d driver.Driver) Plan {
	p := Plan{Name: "errand"}
	p.Document, _ = json.Marshal(e.Stages) // of strings only
	for _, st := range e.Stages {
		p.Stages = append(p.Stages, Stage{
			Name: st.Name, Driver: d, Files: kept.Kept(st.Digest), Program: []string{"/stage", st.Argument}, Settings: st.Settings,
			Wire: &talk{}, Grace: 2 * time.Second, Patience: 20 * time.Second,
		})
	}
	return p
}

// supervise is a supervisor that takes orders by lines, and is killed in the end.
func supervise(text string) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	kept, err := store.Open(e.Store)
	if err != nil {
		return err
	}
	d := process.New()
	s, err := Open(e.State, Options{
		Drivers: map[string]driver.Driver{d.Name(): d}, Settle: e.Settle,
		Files: func(digest string) driver.Files {
			return kept.Kept(closure.Digest(strings.TrimPrefix(digest, "sha256:")))
		},
		Wire: func(json.RawMessage, string) (Wire, error) { return &talk{}, nil },
		Pin: func(name, digest string) error {
			return kept.Pin(name, closure.Digest(strings.TrimPrefix(digest, "sha256:")))
		},
		Unpin: kept.Unpin,
	})
	if err != nil {
		return err
	}
	fmt.Println("opened")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := obey(s, lines.Text(), e, kept, d); err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return s.Close()
}

func obey(s *Supervisor, line string, e errand, kept *store.Store, d driver.Driver) error {
	ctx := context.Background()
	word, rest, _ := strings.Cut(line, " ")
	var err error
	switch word {
	case "apply":
		if rest != "" {
			err = json.Unmarshal([]byte(rest), &e.Stages)
		}
		if err == nil {
			var r Report
			r, err = s.Apply(ctx, e.plan(kept, d), ApplyOptions{})
			text, _ := json.Marshal(r.Stages) // of strings only
			fmt.Println("applied", string(text))
		}
	case "list":
		text, err := json.Marshal(s.List(ctx))
		fmt.Println("list", string(text))
		return err
	case "restart":
		err = s.Restart(ctx, rest)
		fmt.Println("restarted")
	case "stop":
		err = s.StopStage(ctx, rest)
		fmt.Println("stopped")
	case "down":
		err = s.Down(ctx)
		fmt.Println("down")
	}
	return err
}

// talk is the wire of the drivers' test stage: it asks for pings.
type talk struct {
	mu     sync.Mutex
	health Health
	conn   net.Conn
}

// Serve implements Wire.
func (k *talk) Serve(ctx context.Context, conn net.Conn, box BoxInfo) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	k.set(func() { k.health, k.conn = Health{}, conn })
	lines := bufio.NewReader(conn)
	if _, err := lines.ReadString('\n'); err != nil { // hello
		return err
	}
	box.Greeted()
	for {
		k.set(func() { k.health.In++ })
		if _, err := fmt.Fprintln(conn, "ping"); err != nil {
			return err
		}
		if _, err := lines.ReadString('\n'); err != nil {
			return err
		}
		k.set(func() { k.health.Out++; k.health.Beat, k.health.Ready = time.Now(), true })
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *talk) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

// Stop implements Wire.
func (k *talk) Stop(context.Context, time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == nil {
		return errors.New("there is no connection")
	}
	_, err := fmt.Fprintln(k.conn, "exit 0")
	return err
}

// Health implements Wire.
func (k *talk) Health() Health {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.health
}

// yard has a store, a state folder, and the supervisors that come and go over it.
type yard struct {
	t      *testing.T
	errand errand
	other  closure.Digest // another version of the stage
	broken closure.Digest // one that ends at once
}

func newYard(t *testing.T, stages ...string) *yard {
	t.Helper()
	if p := process.New().Probe(t.Context()); p.Err != nil {
		t.Skipf("no process box runs here: %v", p.Err)
	}
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{t: t, errand: errand{State: filepath.Join(dir, "s"), Store: filepath.Join(dir, "store"), Settle: time.Second}}
	t.Cleanup(func() { y.clear(dir) })
	program := drivertest.BuildStage(t, "")
	kept, err := store.Open(y.errand.Store)
	if err != nil {
		t.Fatal(err)
	}
	put := func(program, label string) closure.Digest {
		data := filepath.Join(dir, "label")
		if err := os.WriteFile(data, []byte(label), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := closure.Compute(closure.Spec{Program: program, Data: []closure.Input{{From: data, To: "/model/label"}}})
		if err != nil {
			t.Fatal(err)
		}
		digest, err := kept.Put(c, "test/"+label)
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	first := put(program, "one")
	y.other = put(program, "two")
	ends := filepath.Join(dir, "stage")
	if err := exec.CommandContext(t.Context(), "cp", "/bin/false", ends).Run(); err != nil {
		t.Fatal(err)
	}
	y.broken = put(ends, "three")
	for _, name := range stages {
		y.errand.Stages = append(y.errand.Stages, errandStage{Name: name, Digest: first, Settings: "one", Argument: filepath.Base(dir) + name})
	}
	return y
}

// clear removes the yard, whose closures' folders are read-only.
func (y *yard) clear(dir string) {
	if kept, err := store.Open(y.errand.Store); err == nil {
		if pins, err := kept.Pins(); err == nil {
			for name := range pins {
				_ = kept.Unpin(name) // the folder goes anyway
			}
		}
		if _, err := kept.Collect(); err != nil {
			y.t.Error(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		y.t.Error(err)
	}
}

// processes returns the process IDs of stages of the yard by name of the stage.
func (y *yard) processes() map[string][]string {
	found := map[string][]string{}
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name) // gone meanwhile
		args := strings.Split(string(line), "\x00")
		if len(args) < 3 || !strings.HasSuffix(args[0], "/stage") {
			continue
		}
		for _, st := range y.errand.Stages {
			if args[1] == st.Argument {
				found[st.Name] = append(found[st.Name], strings.Split(name, "/")[2])
			}
		}
	}
	return found
}

// over is a supervisor in another process.
type overseer struct {
	y       *yard
	command *exec.Cmd
	stdin   io.WriteCloser
	said    *bufio.Reader
}

func (y *yard) overseer() *overseer {
	y.t.Helper()
	text, err := json.Marshal(y.errand)
	if err != nil {
		y.t.Fatal(err)
	}
	o := &overseer{y: y, command: exec.Command("/proc/self/exe", superviseArgument, string(text))}
	o.command.Stderr = os.Stderr
	if o.stdin, err = o.command.StdinPipe(); err != nil {
		y.t.Fatal(err)
	}
	out, err := o.command.StdoutPipe()
	if err != nil {
		y.t.Fatal(err)
	}
	o.said = bufio.NewReader(out)
	if err := o.command.Start(); err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(o.kill)
	o.awaits("opened")
	return o
}

func (o *overseer) kill() {
	_ = o.command.Process.Kill() // it may be dead
	_ = o.command.Wait()
	o.stdin.Close()
}

func (o *overseer) tell(line string) {
	o.y.t.Helper()
	if _, err := fmt.Fprintln(o.stdin, line); err != nil {
		o.y.t.Fatal(err)
	}
}

func (o *overseer) awaits(word string) string {
	o.y.t.Helper()
	line, err := o.said.ReadString('\n')
	rest, ok := strings.CutPrefix(line, word)
	if err != nil || !ok {
		o.y.t.Fatalf("the supervisor says %q (%v), not %q", line, err, word)
	}
	return strings.TrimSpace(rest)
}

func (o *overseer) apply(stages []errandStage) map[string]Outcome {
	o.y.t.Helper()
	text, err := json.Marshal(stages)
	if err != nil {
		o.y.t.Fatal(err)
	}
	o.tell("apply " + string(text))
	var all []Outcome
	if err := json.Unmarshal([]byte(o.awaits("applied")), &all); err != nil {
		o.y.t.Fatal(err)
	}
	byName := map[string]Outcome{}
	for _, outcome := range all {
		byName[outcome.Stage] = outcome
	}
	return byName
}

func (o *overseer) list() map[string]State {
	o.y.t.Helper()
	o.tell("list")
	var all []State
	if err := json.Unmarshal([]byte(o.awaits("list")), &all); err != nil {
		o.y.t.Fatal(err)
	}
	byName := map[string]State{}
	for _, st := range all {
		byName[st.Stage] = st
	}
	return byName
}

// ready waits until all stages are.
func (o *overseer) ready() map[string]State {
	o.y.t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all, ready := o.list(), true
		for _, st := range all {
			ready = ready && (st.Ready && st.Phase == Running || st.Phase == Idle)
		}
		if ready {
			return all
		}
		if time.Now().After(until) {
			o.y.t.Fatalf("not ready: %+v", all)
		}
	}
}

// checkOne fails the test unless there is exactly one process and one intent of each stage.
func (y *yard) checkOne(all map[string]State) {
	y.t.Helper()
	processes := y.processes()
	entries, err := os.ReadDir(filepath.Join(y.errand.State, boxesDir))
	if err != nil {
		y.t.Fatal(err)
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	running := 0
	for _, st := range y.errand.Stages {
		want := 1
		if all[st.Name].Phase == Idle {
			want = 0
		}
		running += want
		if got := processes[st.Name]; len(got) != want {
			y.t.Errorf("stage %q has processes %q, not %d", st.Name, got, want)
		}
		if want == 1 && !slices.Contains(ids, all[st.Name].Box) {
			y.t.Errorf("box %q has no intent; there are %q", all[st.Name].Box, ids)
		}
	}
	if len(ids) != running {
		y.t.Errorf("%d intents for %d boxes: %q", len(ids), running, ids)
	}
}

func (o *overseer) finish() {
	o.y.t.Helper()
	o.tell("down")
	o.awaits("down")
	if left := o.y.processes(); len(left) > 0 {
		o.y.t.Errorf("left %v", left)
	}
	if entries, _ := os.ReadDir(filepath.Join(o.y.errand.State, boxesDir)); len(entries) > 0 {
		o.y.t.Errorf("left %v", entries)
	}
}

// times is how often a supervisor is killed.
func times(whole int) int {
	if testing.Short() {
		return max(3, whole/10)
	}
	return whole
}

func TestNoBoxNoticesThatItsSupervisorIsKilled(t *testing.T) {
	y := newYard(t, "publish", "classify", "capture")
	o := y.overseer()
	o.apply(y.errand.Stages)
	first := o.ready()
	before := y.processes()
	slowest := time.Duration(0)
	for range times(40) {
		o.kill()
		began := time.Now()
		o = y.overseer()
		for name, outcome := range o.apply(y.errand.Stages) {
			if outcome.Action != Adopted || outcome.Box != first[name].Box {
				t.Errorf("%+v, was %s", outcome, first[name].Box)
			}
		}
		all := o.ready()
		slowest = max(slowest, time.Since(began))
		for name, st := range all {
			if st.Box != first[name].Box || st.Restarts != 0 || st.Last != nil || !st.Adopted {
				t.Errorf("%+v", st)
			}
		}
		y.checkOne(all)
	}
	if after := y.processes(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v became %v", before, after)
	}
	t.Logf("back with all wires within %v at most", slowest)
	o.finish()
}

// killWithin tells a supervisor something and kills it at some time while that goes on.
func (y *yard) killWithin(o *overseer, line string, after time.Duration) {
	o.tell(line)
	time.Sleep(after) // not for an event: the kill is to fall anywhere
	o.kill()
}

func TestASupervisorKilledWhileItStartsLeavesNothingDoubled(t *testing.T) {
	y := newYard(t, "publish", "capture")
	n := times(20)
	for i := range n {
		o := y.overseer()
		y.killWithin(o, "apply", time.Duration(i)*250*time.Millisecond/time.Duration(n))
		o = y.overseer()
		o.apply(y.errand.Stages)
		all := o.ready()
		for _, st := range all {
			if st.Restarts != 0 {
				t.Errorf("%+v", st)
			}
		}
		y.checkOne(all)
		o.finish()
		o.kill()
	}
}

func TestASupervisorKilledWhileItStopsLeavesNothingBehind(t *testing.T) {
	y := newYard(t, "publish", "capture")
	n := times(20)
	for i := range n {
		o := y.overseer()
		o.apply(y.errand.Stages)
		first := o.ready()
		line := []string{"down", "stop publish", "restart publish"}[i%3]
		y.killWithin(o, line, time.Duration(i)*60*time.Millisecond/time.Duration(n))
		o = y.overseer()
		o.apply(y.errand.Stages)
		all := o.ready()
		y.checkOne(all)
		if line != "down" && all["capture"].Box != first["capture"].Box {
			t.Errorf("%s touched another stage", line)
		}
		for _, st := range all {
			if st.Last != nil && st.Last.Reason != "asked" && st.Last.Reason != "lost" {
				t.Errorf("%+v %+v", st, st.Last)
			}
		}
		if all["publish"].Phase == Idle {
			o.tell("restart publish")
			o.awaits("restarted")
		}
		o.finish()
		o.kill()
	}
}

func (y *yard) version(digest closure.Digest, settings string) []errandStage {
	stages := slices.Clone(y.errand.Stages)
	last := len(stages) - 1
	stages[last].Digest, stages[last].Settings = digest, settings
	return stages
}

func TestASupervisorKilledWhileItReplacesGoesOnOrPutsBack(t *testing.T) {
	y := newYard(t, "publish", "capture")
	n := times(20)
	o := y.overseer()
	o.apply(y.errand.Stages)
	o.ready()
	time.Sleep(y.errand.Settle + 2*time.Second) // so that the first version has held
	publish := o.list()["publish"]
	good, bad := 0, 0
	for i := range n {
		next := y.version(y.other, fmt.Sprint(i))
		if i%2 == 1 {
			next = y.version(y.broken, fmt.Sprint(i))
		}
		text, err := json.Marshal(next)
		if err != nil {
			t.Fatal(err)
		}
		y.killWithin(o, "apply "+string(text), time.Duration(i)*1500*time.Millisecond/time.Duration(n))
		o = y.overseer()
		outcome := o.apply(next)["capture"]
		all := o.ready()
		y.checkOne(all)
		if st := all["publish"]; st.Box != publish.Box || st.Restarts != 0 {
			t.Errorf("another stage was touched: %+v, was %s", st, publish.Box)
		}
		want := "sha256:" + string(y.other)
		if st := all["capture"]; st.Digest != want && !(good == 0 && i%2 == 1) {
			t.Errorf("kill %d: runs %s, not %s: %+v", i, st.Digest, want, outcome)
		}
		switch {
		case i%2 == 0 && slices.Contains([]Action{Replaced, Adopted, Started}, outcome.Action):
			good++
		case i%2 == 1 && slices.Contains([]Action{PutBack, Refused}, outcome.Action):
			bad++
		default:
			t.Errorf("kill %d: %+v", i, outcome)
		}
	}
	t.Logf("%d good versions went in, %d bad ones were put back", good, bad)
	o.finish()
}

func TestAKilledStageComesBackAlone(t *testing.T) {
	y := newYard(t, "publish", "classify", "capture")
	o := y.overseer()
	o.apply(y.errand.Stages)
	before := o.ready()
	for name, pids := range y.processes() {
		if err := exec.CommandContext(t.Context(), "kill", "-9", pids[0]).Run(); err != nil {
			t.Fatal(err)
		}
		for o.list()[name].Restarts == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		after := o.ready()
		if st := after[name]; st.Restarts != 1 || st.Last.Reason != "killed" || st.Box == before[name].Box {
			t.Errorf("%+v %+v", st, st.Last)
		}
		for other, st := range after {
			if other != name && st.Box != before[other].Box {
				t.Errorf("%s was touched when %s was killed", other, name)
			}
		}
		before = after
		y.checkOne(after)
	}
	o.finish()
}

func TestAChangedFileIsRefusedByNameAndWhatRunsIsKept(t *testing.T) {
	y := newYard(t, "publish", "capture")
	o := y.overseer()
	o.apply(y.errand.Stages)
	before := o.ready()
	blob := filepath.Join(y.errand.Store, "blobs", string(closure.Sum([]byte("two"))))
	if err := errors.Join(os.Chmod(blob, 0o644), os.WriteFile(blob, []byte("twO"), 0o644)); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(y.version(y.other, "two"))
	if err != nil {
		t.Fatal(err)
	}
	o.tell("apply " + string(text))
	o.awaits("applied")
	if said := o.awaits("error"); !strings.Contains(said, "/model/label") || !strings.Contains(said, "capture") {
		t.Errorf("said %q", said)
	}
	for name, st := range o.list() {
		if st.Box != before[name].Box {
			t.Errorf("%+v", st)
		}
	}
	first := filepath.Join(y.errand.Store, "blobs", string(closure.Sum([]byte("one"))))
	if err := errors.Join(os.Chmod(first, 0o644), os.WriteFile(first, []byte("onE"), 0o644)); err != nil {
		t.Fatal(err)
	}
	o.tell("restart capture")
	o.awaits("restarted")
	if said := o.awaits("error"); !strings.Contains(said, "/model/label") || !strings.Contains(said, "up --force") {
		t.Errorf("said %q", said)
	}
	st := o.list()["capture"]
	if st.Last.Reason != "tampered" || time.Until(st.Next) < 50*time.Second || st.Phase != Waiting {
		t.Errorf("%+v %+v", st, st.Last)
	}
	o.finish()
	if err := os.WriteFile(first, []byte("one"), 0o644); err != nil { // so that the store can be cleared
		t.Fatal(err)
	}
}

func TestAnIntentThatCannotBeReadDoesNotLeaveItsBox(t *testing.T) {
	y := newYard(t, "publish", "capture")
	o := y.overseer()
	o.apply(y.errand.Stages)
	before := o.ready()
	o.kill()
	at := filepath.Join(y.errand.State, boxesDir, before["capture"].Box, recordFile)
	if err := os.WriteFile(at, []byte(`{"version":`), 0o600); err != nil {
		t.Fatal(err)
	}
	o = y.overseer()
	o.apply(y.errand.Stages)
	after := o.ready()
	if after["publish"].Box != before["publish"].Box || after["capture"].Box == before["capture"].Box {
		t.Errorf("%+v", after)
	}
	y.checkOne(after)
	o.finish()
}
