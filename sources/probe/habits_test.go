package probe_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/probe"
	"sightline/sources/sim/habits"
)

// visit looks at a camera with a habit for a short while.
func visit(t *testing.T, h habits.Habit, transport string, length time.Duration) (*probe.Report, error) {
	t.Helper()
	camera := habits.Camera{Habit: h, Pace: 20 * time.Millisecond}
	if err := camera.Start(); err != nil {
		return nil, err
	}
	defer camera.Stop()
	config := sources.RTSP{URL: camera.URL(), Transport: transport, Stall: 20 * time.Second, Username: habits.Username, Password: pipeline.NewSecret(habits.Password)}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p := probe.Probe{Config: config, Length: length}
	return p.Run(ctx, environment(t, config))
}

// TestEveryHabitIsReportedOrRefused looks at each camera of the corpus of bad habits.
func TestEveryHabitIsReportedOrRefused(t *testing.T) {
	t.Parallel()
	all, err := habits.All()
	if err != nil {
		t.Fatal(err)
	}
	var reported atomic.Int64
	together(all, func(h habits.Habit) {
		switch h.Name {
		case "silent", "stalls", "hangs-up", "keepalive-ignored", "keepalive-refused", "keepalive-options-only", "digest-nonce-keepalive",
			"aggregation-nested", "fragments-no-start":
			return // they only take time
		}
		r, err := visit(t, h, "tcp", 300*time.Millisecond)
		switch {
		case (r == nil) == (err == nil):
			t.Errorf("%s: %v, %v", h.Name, r, err)
		case err != nil:
			t.Logf("%s: %v", h.Name, err)
		default:
			reported.Add(1)
			read(t, h.Name, r)
		}
	})
	if n := reported.Load(); n < int64(len(all))/2 {
		t.Errorf("%d of %d cameras were reported", n, len(all))
	}
}

// together does something with all at once: it is waiting mostly.
func together[T any](all []T, do func(T)) {
	var working sync.WaitGroup
	turn := make(chan struct{}, 16)
	for _, one := range all {
		working.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			do(one)
		})
	}
	working.Wait()
}

// read checks that what is printed of a camera is well.
func read(t *testing.T, name string, r *probe.Report) {
	t.Helper()
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || bytes.Contains(text.Bytes(), []byte(habits.Password)) || bytes.Contains(text.Bytes(), []byte("%!")) {
		t.Errorf("%s: %v\n%s", name, err, &text)
	}
	if _, err := parse(r.Configuration, map[string]string{probe.PasswordVariable: "x"}); err != nil {
		t.Errorf("%s: %v\n%s", name, err, r.Configuration)
	}
}

func TestHabitsAreWarnedOf(t *testing.T) {
	t.Parallel()
	wanted := map[string]string{
		"rtcp-none": probe.WarnNoReports, "rtcp-zero": probe.WarnNoReports, "rtcp-1970": probe.WarnClock,
		"sdp-no-parameter-sets": probe.WarnInBand, "b-frames": probe.WarnBFrames, "auth-basic": probe.WarnBasic,
		"h265": probe.WarnH265, "udp-loss": probe.WarnLoss,
	}
	together(slices.Sorted(maps.Keys(wanted)), func(name string) {
		h, err := habits.Named(name)
		if err != nil {
			t.Error(err)
			return
		}
		transport := "tcp"
		if name == "udp-loss" {
			transport = "udp"
		}
		if r, err := visit(t, h, transport, 2*time.Second); err != nil || !has(r, wanted[name]) {
			t.Errorf("%s: no %s, %v: %+v", name, wanted[name], err, r)
		}
	})
}
