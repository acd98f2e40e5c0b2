package web_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/web"
)

type fixture struct {
	board   *web.Board
	stats   *pipeline.Stats
	handler http.Handler
}

func newFixture() fixture {
	stats := pipeline.NewStats()
	board := &web.Board{Device: "dev", Name: "front", Version: "1", Began: time.Now()}
	board.Show([]web.Stage{
		{Name: "cloud", Kind: web.Publish, Samples: pipeline.NewStats().Snapshot},
		{Name: "scene", Kind: web.Classify, Samples: stats.Snapshot, Box: func() web.Box {
			return web.Box{In: "vm", ID: "scene-1", Restarts: 2, Reason: "hung", CPU: 1500 * time.Millisecond, Memory: 64 << 20, Received: 7, Sent: 8}
		}},
	})
	server := &web.Server{Board: board, Log: slog.New(slog.DiscardHandler)}
	return fixture{board: board, stats: stats, handler: server.Handler()}
}

func (f fixture) ask(t *testing.T, path, host string) (int, string) {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Host = host
	recorder := httptest.NewRecorder()
	f.handler.ServeHTTP(recorder, request)
	body, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, string(body)
}

func TestReadyOnlyOnceTheModelIsWarmAndAFrameHasGoneThrough(t *testing.T) {
	f := newFixture()
	if code, body := f.ask(t, "/readyz", "localhost"); code != 503 || !strings.Contains(body, "model is not ready") {
		t.Errorf("before the model: %d %q", code, body)
	}
	f.board.Report(pipeline.Status{Stage: "scene", State: pipeline.StateOnline})
	if code, body := f.ask(t, "/readyz", "localhost"); code != 503 || !strings.Contains(body, "no frame") {
		t.Errorf("before a frame: %d %q", code, body)
	}
	f.stats.Counter(pipeline.FramesAnalysed, "stage", "scene", "source", "gate").Add(1)
	if code, body := f.ask(t, "/readyz", "localhost"); code != 200 {
		t.Errorf("after a frame: %d %q", code, body)
	}
	f.board.Report(pipeline.Status{Stage: "scene", State: pipeline.StateStarting})
	if code, _ := f.ask(t, "/readyz", "localhost"); code != 503 {
		t.Errorf("model gone again: %d", code)
	}
	if code, _ := f.ask(t, "/healthz", "127.0.0.1:9640"); code != 200 {
		t.Errorf("health: %d", code)
	}
}

func TestMetricsAreRealHistogramsAndCounters(t *testing.T) {
	f := newFixture()
	f.stats.Counter(pipeline.FramesAnalysed, "stage", "scene", "source", "gate").Add(7)
	h := f.stats.Histogram(pipeline.InferSeconds, "stage", "scene")
	h.Observe(4 * time.Millisecond)
	h.Observe(40 * time.Second)
	_, body := f.ask(t, "/metrics", "[::1]:9640")
	for _, line := range []string{
		`sightline_frames_analysed_total{device="dev",source="gate",stage="scene"} 7`,
		`sightline_infer_seconds_bucket{device="dev",stage="scene",le="0.003"} 0`,
		`sightline_infer_seconds_bucket{device="dev",stage="scene",le="0.005"} 1`,
		`sightline_infer_seconds_bucket{device="dev",stage="scene",le="+Inf"} 2`,
		`sightline_infer_seconds_sum{device="dev",stage="scene"} 40.004`,
		`# TYPE sightline_infer_seconds histogram`,
		`process_resident_memory_bytes`,
		`sightline_box_cpu_seconds_total{box="vm",device="dev",stage="scene"} 1.5`,
		`sightline_box_memory_bytes{box="vm",device="dev",stage="scene"} 6.7108864e+07`,
		`sightline_box_restarts_total{box="vm",device="dev",stage="scene"} 2`,
		`sightline_wire_received_bytes_total{box="vm",device="dev",stage="scene"} 7`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no line %q", line)
		}
	}
}

func TestStatusShowsStagesCountsAndTheNewestResult(t *testing.T) {
	f := newFixture()
	f.stats.Drops("scene", "gate").Add(pipeline.DropStale, 3)
	captured := time.Now()
	for i, class := range []string{"cat", "dog", "dog"} {
		result := &pipeline.Result{Source: "gate", Stage: "scene", Captured: captured.Add(time.Duration(i) * time.Second),
			Top: &pipeline.Prediction{Class: class, Confidence: 0.5}}
		if err := f.board.Deliver(t.Context(), []pipeline.Message{{Result: result}}); err != nil {
			t.Fatal(err)
		}
	}
	_, body := f.ask(t, "/status", "localhost:9640")
	var got struct {
		Stages []struct {
			Name, State string
			Drops       map[string]float64
			Box         *struct {
				In, Reason string
				CPU        float64 `json:"cpu_seconds"`
			}
		}
		Latest []web.Latest
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Stages) != 2 || got.Stages[1].Drops["stale"] != 3 || got.Stages[0].State != "starting" {
		t.Errorf("stages %+v", got.Stages)
	}
	if box := got.Stages[1].Box; got.Stages[0].Box != nil || box == nil || box.In != "vm" || box.Reason != "hung" || box.CPU != 1.5 {
		t.Errorf("box %+v", box)
	}
	if len(got.Latest) != 1 || got.Latest[0].Class != "dog" || !got.Latest[0].Since.Equal(captured.Add(time.Second)) {
		t.Errorf("latest %+v, want dog since the second result", got.Latest)
	}
}

func TestWhatWasSeenByAStageThatIsGoneIsForgotten(t *testing.T) {
	f := newFixture()
	for _, source := range []string{"gate", "yard"} {
		if err := f.board.Deliver(t.Context(), []pipeline.Message{{Result: &pipeline.Result{Source: source, Stage: "scene"}}}); err != nil {
			t.Fatal(err)
		}
	}
	f.board.Show(append(f.board.Stages(), web.Stage{Name: "gate", Kind: web.Capture, Samples: pipeline.NewStats().Snapshot}))
	if _, body := f.ask(t, "/status", "localhost:9640"); strings.Contains(body, `"yard"`) || !strings.Contains(body, `"stage": "scene"`) {
		t.Error(body)
	}
}

func TestNothingIsReadyBeforeThereAreStages(t *testing.T) {
	f := newFixture()
	f.board.Show(nil)
	if code, body := f.ask(t, "/readyz", "localhost:9640"); code != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %s", code, body)
	}
	if _, body := f.ask(t, "/status", "localhost:9640"); !strings.Contains(body, `"stages": []`) {
		t.Errorf("the page reads a list of stages, not %s", body)
	}
}

func TestWhatTwoStagesCountOfOneThingIsOneSeries(t *testing.T) {
	f := newFixture()
	other := pipeline.NewStats()
	f.board.Show(append(f.board.Stages(), web.Stage{Name: "gate", Kind: web.Capture, Samples: other.Snapshot}))
	for stats, n := range map[*pipeline.Stats]uint64{f.stats: 3, other: 4} {
		stats.Drops("scene", "gate").Add(pipeline.DropStale, n)
		stats.Histogram(pipeline.InferSeconds, "stage", "scene").Observe(time.Millisecond)
	}
	status, body := f.ask(t, "/metrics", "localhost:9640")
	for _, line := range []string{
		`sightline_frames_dropped_total{device="dev",reason="stale",source="gate",stage="scene"} 7`,
		`sightline_infer_seconds_count{device="dev",stage="scene"} 2`,
	} {
		if status != http.StatusOK || !strings.Contains(body, line) {
			t.Errorf("status %d, no line %q in\n%s", status, line, body)
		}
	}
}

func TestNamesThatAreNotThisMachinesAreRefused(t *testing.T) {
	f := newFixture()
	for _, host := range []string{"evil.example", "evil.example:9640", "192.0.2.1:9640", ""} {
		if code, _ := f.ask(t, "/status", host); code != http.StatusForbidden {
			t.Errorf("host %q: %d, want 403", host, code)
		}
	}
	if code, body := f.ask(t, "/", "localhost:9640"); code != 200 || !strings.Contains(body, "Sightline") {
		t.Errorf("page: %d", code)
	}
}

func TestTheDocumentsListEveryMetricAndReason(t *testing.T) {
	text, err := os.ReadFile("../docs/results.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range pipeline.Metrics {
		if line := fmt.Sprintf("| `%s` | %s | %s |", m.Name, m.Kind, m.Help); !strings.Contains(string(text), line) {
			t.Errorf("docs/results.md lacks the line\n%s", line)
		}
	}
	for _, r := range pipeline.Reasons {
		if !strings.Contains(string(text), "| `"+string(r)+"` |") {
			t.Errorf("docs/results.md lacks the reason %s", r)
		}
	}
}

func TestStatusSaysThatTheFileOnTheDiskDoesNotRun(t *testing.T) {
	f := newFixture()
	if _, body := f.ask(t, "/status", "localhost"); strings.Contains(body, `"file"`) {
		t.Errorf("there is no file, and the status has one:\n%s", body)
	}
	f.board.File = func() web.File {
		return web.File{Name: "front.yaml", Problem: "front.yaml:3:1: is wrong", Since: time.Now()}
	}
	_, body := f.ask(t, "/status", "localhost")
	for _, want := range []string{`"name": "front.yaml"`, `"runs": false`, `"problem": "front.yaml:3:1: is wrong"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}
