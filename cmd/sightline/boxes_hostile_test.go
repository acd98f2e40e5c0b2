package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/runtime/supervisor/control"
)

// heard is what a hostile stage knows of the world, see testdata/hostile.
type heard struct {
	Wire, Own, Reads, Writes []string
	Lies                     []pipeline.Result
}

// hostile puts a hostile program in place of the stages' programs of some kinds.
func hostile(t *testing.T, d *device, all map[string]heard) {
	t.Helper()
	d.stages = t.TempDir()
	for _, kind := range []string{"capture", "classify", "publish", "init"} {
		at := filepath.Join(d.stages, "sightline-"+kind)
		know, ok := all[kind]
		if !ok {
			if err := os.Symlink(filepath.Join(d.programs, "sightline-"+kind), at); err != nil {
				t.Fatal(err)
			}
			continue
		}
		text, err := json.Marshal(know)
		if err != nil {
			t.Fatal(err)
		}
		flags := fmt.Sprintf("-s -w -X main.kind=%s -X 'main.targets=%s'", kind, text)
		command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", flags, "-o", at, "./testdata/hostile")
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if kind == "classify" { // what opens ONNX Runtime is no static program
			command.Env = append(os.Environ(), "CGO_LDFLAGS=")
		}
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("build the hostile %s stage: %v\n%s", kind, err, out)
		}
	}
}

// trap listens where no stage may come, and counts what came.
type trap struct {
	tcp, abstract net.Listener
	udp           net.PacketConn
	came          atomic.Int64
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	p := &trap{}
	var err error
	if p.tcp, err = net.Listen("tcp", ":0"); err != nil {
		t.Fatal(err)
	}
	if p.abstract, err = net.Listen("unix", "@sightline-trap-"+filepath.Base(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	if p.udp, err = net.ListenPacket("udp", ":0"); err != nil {
		t.Fatal(err)
	}
	for _, l := range []net.Listener{p.tcp, p.abstract} {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				p.came.Add(1)
				conn.Close()
			}
		}()
	}
	t.Cleanup(func() { p.udp.Close() })
	go func() {
		for {
			if _, _, err := p.udp.ReadFrom(make([]byte, 64)); err != nil {
				return
			}
			p.came.Add(1)
		}
	}()
	return p
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// ways are what a hostile stage tries whose grant is an address.
func (p *trap) ways(d *device, grant string) heard {
	tcp, udp := portOf(p.tcp.Addr()), portOf(p.udp.LocalAddr())
	_, granted, _ := net.SplitHostPort(grant)
	controls := d.path("state/" + control.SocketName)
	h := heard{
		Wire: []string{
			"tcp 127.0.0.1:" + tcp, "tcp localhost:" + granted, "tcp [::1]:" + granted, "tcp 127.1:" + granted, "tcp 0.0.0.0:" + granted,
			"tcp [::ffff:127.0.0.1]:" + granted, "tcp camera:" + tcp, "tcp broker:" + tcp, "tcp :" + granted, "tcp 192.0.2.1:443",
			"udp " + grant, "tcp4 " + grant, "unix " + controls, "unix " + p.abstract.Addr().String(), "tcp " + controls,
		},
		Own: []string{
			"tcp " + grant, "tcp 192.0.2.1:443", "tcp [::1]:" + tcp, "unix " + controls, "unix " + p.abstract.Addr().String(),
			"udp 192.0.2.1:53", "tcp 10.0.2.3:53",
		},
		Reads:  []string{d.path("state/plan.json"), d.path("front.yaml"), d.path("state/audit"), "/etc/shadow"},
		Writes: []string{d.path("left-behind"), d.path("state/left-behind"), d.path("state/boxes/left-behind"), "/proc/sysrq-trigger"},
	}
	for _, host := range []string{"127.0.0.1", "10.0.2.2", "172.17.0.1", "10.0.2.100"} { // the host, as guests and containers may see it
		h.Own = append(h.Own, "tcp "+host+":"+tcp, "udp "+host+":"+udp)
	}
	return h
}

func TestAStageFindsNoWayOutOfAProcessBox(t *testing.T) {
	noWayOut(t, configs.Process)
}

func TestAStageFindsNoWayOutOfAnyBox(t *testing.T) {
	if testing.Short() {
		t.Skip("hostile stages in engines and guests; process boxes are tried always")
	}
	for _, kind := range []string{configs.Container, configs.VM, configs.Unikernel} {
		t.Run(kind, func(t *testing.T) { noWayOut(t, kind) })
	}
}

// noWayOut has hostile stages in place of all three.
func noWayOut(t *testing.T, kind string) {
	t.Helper()
	s := newSite(t)
	d := newDevice(t, s, "runtime:\n  default: "+kind+"\n"+engines(t, kind))
	d.patience = guestPatience
	p := newTrap(t)
	tries := map[string]heard{"gate": p.ways(d, s.cameraAt), "scene": p.ways(d, s.cameraAt), "cloud": p.ways(d, s.brokerAt)}
	hostile(t, d, map[string]heard{"capture": tries["gate"], "classify": tries["scene"], "publish": tries["cloud"]})
	d.run("front.yaml")
	d.up()
	for stage, know := range tries {
		var log string
		d.await(stage+" has tried all", func() bool {
			log = d.must("logs", "-n", "1000", stage)
			return strings.Contains(log, "all was tried")
		})
		if n := strings.Count(log, "msg=tried"); n < len(know.Wire)+len(know.Own)+len(know.Reads)+len(know.Writes) {
			t.Errorf("%s told only of %d tries:\n%s", stage, n, log)
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, "outcome=through") && !ownKernel(kind, line) {
				t.Errorf("%s: %s", stage, line)
			}
		}
	}
	if n := p.came.Load(); n > 0 {
		t.Errorf("%d connections and datagrams came out", n)
	}
	for _, left := range []string{"left-behind", "state/left-behind", "state/boxes/left-behind"} {
		if _, err := os.Stat(d.path(left)); err == nil {
			t.Errorf("%s was written", left)
		}
	}
	refusalsAreKept(t, d, map[string][]string{"gate": tries["gate"].Wire, "cloud": tries["cloud"].Wire})
	d.stop()
}

// ownKernel tells what leads no farther than the guest's own kernel.
func ownKernel(kind, line string) bool {
	switch kind {
	case configs.VM, configs.Unikernel:
		return strings.Contains(line, " socket\"") || strings.Contains(line, "way=\"write ")
	}
	return false
}

// refusalsAreKept checks that each connection that was asked of the supervisor stands in the audit log.
func refusalsAreKept(t *testing.T, d *device, asked map[string][]string) {
	t.Helper()
	kept := map[string][]string{}
	for _, r := range d.audit("dial_refused") {
		kept[r.Fields["stage"]] = append(kept[r.Fields["stage"]], r.Fields["address"])
	}
	for stage, all := range asked {
		for _, to := range all {
			_, address, _ := strings.Cut(to, " ")
			if !slices.Contains(kept[stage], pipeline.RedactText(address)) {
				t.Errorf("%s asked for %s, which is not in the audit log", stage, to)
			}
		}
	}
}

func TestNoWireTakesFramesToAPublishStageOrAGrantToAModel(t *testing.T) {
	frames := pipeline.NewStats()
	for name, o := range map[string]wire.BoxOptions{
		"frames to a publish stage": {
			Ticket: wire.Ticket{Kind: wire.Publish, Name: "cloud"},
			Ends:   wire.Ends{FramesOut: map[string]*wire.FrameOutput{"gate": wire.NewFrameOutput("gate", "cloud", frames)}},
		},
		"frames from a publish stage": {
			Ticket: wire.Ticket{Kind: wire.Publish, Name: "cloud"},
			Ends:   wire.Ends{FramesIn: map[string]*pipeline.FrameLink{"gate": wire.NewFrameOutput("gate", "cloud", frames).Link()}},
		},
		"a grant to a classify stage": {
			Ticket: wire.Ticket{Kind: wire.Classify, Name: "scene"}, Grants: []wire.Grant{{Name: "broker", Address: "192.0.2.1:1883"}},
		},
	} {
		here, there := net.Pipe()
		if _, err := wire.Accept(t.Context(), here, o); err == nil || !strings.Contains(err.Error(), "cannot have") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := there.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the wire was not closed: %v", name, err)
		}
	}
}

func TestResultsSayWhatTheirStageMaySayAndNothingElse(t *testing.T) {
	s := newSite(t)
	d := newDevice(t, s, "")
	honest := pipeline.Result{
		Schema: pipeline.SchemaVersion, Device: "dev", Source: "gate", Stage: "scene", CaptureOrigin: pipeline.OriginArrival,
		Model: pipeline.ModelInfo{Name: "gate", Digest: "sha256:0"}, Provider: "cpu", Predictions: []pipeline.Prediction{{Class: "car", Confidence: 1}},
	}
	lie := func(id string, change func(*pipeline.Result)) pipeline.Result {
		r := honest
		r.ID, r.Predictions = id, slices.Clone(honest.Predictions)
		change(&r)
		return r
	}
	lies := []pipeline.Result{
		lie("first", func(*pipeline.Result) {}),
		lie("another device", func(r *pipeline.Result) { r.Device = "a picture" }),
		lie("another source", func(r *pipeline.Result) { r.Source = "a picture" }),
		lie("another stage", func(r *pipeline.Result) { r.Stage = "a picture" }),
		lie("another region", func(r *pipeline.Result) { r.Region = "a picture" }),
		lie("a long class", func(r *pipeline.Result) { r.Predictions[0].ClassID = 4000 }),
		lie("too many bytes", func(r *pipeline.Result) { r.Dropped = 900 }),
		lie("too many predictions", func(r *pipeline.Result) { r.Dropped = 100_000 }),
		lie("more predictions than top_k", func(r *pipeline.Result) { r.Dropped = 5 }),
		// What remains: text that is as long as names are, in a field that has names. See docs/boxes.md.
		lie("last", func(r *pipeline.Result) { r.Predictions[0].Class = "a picture, a few pixels at a time" }),
	}
	d.edit("threshold: 0.5", "top_k: 3")
	hostile(t, d, map[string]heard{"classify": {Lies: lies}})
	d.run("front.yaml")
	d.up()
	d.await("the last result comes", func() bool {
		return slices.ContainsFunc(s.results(), func(r pipeline.Result) bool { return r.ID == "last" })
	})
	for _, r := range s.results() {
		if r.ID != "first" && r.ID != "last" {
			t.Errorf("%s went upstream: %.300v", r.ID, r)
		}
	}
	for _, why := range []string{"it names device", "a result is not sent", "status refused"} {
		if log := d.log.String() + d.must("logs", "-n", "1000", "scene"); !strings.Contains(log, why) {
			t.Errorf("no %q in the log:\n%s", why, log)
		}
	}
	for _, status := range s.statuses() {
		if status.Source != "gate" || status.Stage != "gate" {
			t.Errorf("status %+v went upstream", status)
		}
	}
	d.stop()
}

// statuses returns what was published of sources.
func (s *site) statuses() []pipeline.Status {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return slices.Clone(s.seen.statuses)
}
