package pipeline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
)

func TestSizesCarryUnits(t *testing.T) {
	for text, want := range map[string]pipeline.Size{
		"0B": 0, "12B": 12, "4KiB": 4096, "1.5 GiB": 3 << 29, "256MiB": 256 << 20, "2MB": 2_000_000, "1kB": 1000,
	} {
		if got, err := pipeline.ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "12", "MiB", "-1MiB", "NaNMiB", "InfB", "9999999TiB", "1 MiB x"} {
		if got, err := pipeline.ParseSize(text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"256MiB", "1.5 GiB", "-1B", "", "1e30TiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := pipeline.ParseSize(text)
		if err != nil {
			return
		}
		again, err := pipeline.ParseSize(size.String())
		if err != nil || again != size {
			t.Errorf("%q is %d, written %q, read back %d, %v", text, size, size, again, err)
		}
	})
}

func TestASecretShowsInNoPrint(t *testing.T) {
	const value = "p#ss@w/rd:%"
	s := pipeline.NewSecret(value)
	encoded, err := json.Marshal(map[string]any{"password": s})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "holder", struct{ P pipeline.Secret }{s})
	holder := struct{ Password pipeline.Secret }{s}
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %q %v %+v %#v", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", holder, &holder, holder),
		string(encoded), log.String(),
	} {
		if strings.Contains(text, value) || strings.Contains(text, "p#ss") {
			t.Errorf("shown in %q", text)
		}
	}
	if s.Reveal() != value {
		t.Error("the value itself is lost")
	}
}

func TestAddressesLoseTheirPasswords(t *testing.T) {
	for _, text := range []string{
		"rtsp://viewer:p#ss@w/rd:%@192.0.2.1:554/s", "dial rtsp://viewer:p#ss@host: refused",
		"rtsp://192.0.2.1/user=viewer&password=p#ss&channel=1", "http://h/?PWD=p#ss",
		"mqtts://u:p#ss@[::1]:8883 and rtsp://a:p#ss@b/c",
		"rtsp://192.0.2.1:554/user=admin_password=p#ss_channel=1_stream=0.sdp", "rtsp://h/?usr=a&psw=p#ss",
	} {
		if got := pipeline.RedactText(text); strings.Contains(got, "p#ss") || strings.Contains(got, "viewer:") {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := pipeline.RedactText("rtsp://192.0.2.1:554/s refused"); got != "rtsp://192.0.2.1:554/s refused" {
		t.Errorf("an address without a password became %q", got)
	}
}

func TestBackoffDoublesUpToItsCapForEver(t *testing.T) {
	b := pipeline.Backoff{Least: time.Second, Most: time.Minute}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i, w := range want {
		if got := b.Delay(i+1, 0); got != w*time.Second {
			t.Errorf("retry %d after %s, want %s", i+1, got, w*time.Second)
		}
	}
	if got := b.Delay(1<<40, 1); got != 45*time.Second {
		t.Errorf("with full jitter %s, want three quarters of the cap", got)
	}
}

func TestPermanentIsKeptThroughWrapping(t *testing.T) {
	cause := errors.New("wrong password")
	err := fmt.Errorf("open: %w", pipeline.Permanent(cause))
	if !pipeline.IsPermanent(err) || !errors.Is(err, cause) || err.Error() != "open: wrong password" {
		t.Errorf("%v: permanent %v", err, pipeline.IsPermanent(err))
	}
	if pipeline.IsPermanent(cause) || pipeline.Permanent(nil) != nil {
		t.Error("marked what was not marked")
	}
}

func TestSnapshotsHoldWhatWasCounted(t *testing.T) {
	stats := pipeline.NewStats()
	stats.Counter(pipeline.FramesDecoded, "source", "gate").Add(3)
	stats.Gauge(pipeline.SourceUp, "source", "gate").Set(1)
	h := stats.Histogram(pipeline.InferSeconds, "stage", "scene")
	h.Observe(4 * time.Millisecond)
	h.Observe(time.Minute)
	samples := map[string]pipeline.Sample{}
	for _, s := range stats.Snapshot() {
		samples[s.Name] = s
	}
	if s := samples["sightline_frames_decoded_total"]; s.Value != 3 || !slices.Equal(s.Labels, []string{"source", "gate"}) {
		t.Errorf("counter %+v", s)
	}
	if s := samples["sightline_source_up"]; s.Value != 1 {
		t.Errorf("gauge %+v", s)
	}
	s := samples["sightline_infer_seconds"]
	at := slices.Index(pipeline.Buckets, 0.005)
	if s.Counts[at] != 1 || s.Counts[len(pipeline.Buckets)] != 1 || s.Sum != 60.004 {
		t.Errorf("histogram %+v", s)
	}
}

func TestEveryReasonHasACounter(t *testing.T) {
	drops := pipeline.NewStats().Drops("capture", "gate")
	for _, r := range pipeline.Reasons {
		drops.Add(r, 1)
	}
	if drops.Total() != uint64(len(pipeline.Reasons)) {
		t.Errorf("total %d, want %d", drops.Total(), len(pipeline.Reasons))
	}
}
