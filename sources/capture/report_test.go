package capture

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sources"
)

// TestADayOfTroubleIsFewLines: whatever a camera does all day, the log of a device stays readable.
func TestADayOfTroubleIsFewLines(t *testing.T) {
	for _, test := range []struct {
		name   string
		source func(attempt int, take func(*pipeline.Unit)) error
		least  int // attempts
	}{
		{"away", func(int, func(*pipeline.Unit)) error { return errUnplugged }, 2000},
		{"away, with another port in each reason", func(n int, _ func(*pipeline.Unit)) error {
			return fmt.Errorf("read from port %d: %w", 40000+n, errUnplugged)
		}, 2000},
		{"away, with another reason each time", func(n int, _ func(*pipeline.Unit)) error {
			return fmt.Errorf("reason %s: %w", strings.Repeat("x", n%50), errUnplugged)
		}, 2000},
		{"here for 20 seconds, then away", func(_ int, take func(*pipeline.Unit)) error {
			take(unit(true, 10))
			time.Sleep(20 * time.Second)
			return errUnplugged
		}, 2000},
		{"connected and silent", func(int, func(*pipeline.Unit)) error {
			time.Sleep(5 * time.Second)
			return fmt.Errorf("no packet for 5s: %w", sources.ErrStalled)
		}, 1000},
		{"by turns away for minutes and here for minutes", func(n int, take func(*pipeline.Unit)) error {
			if n%8 != 0 {
				return errUnplugged
			}
			take(unit(true, 10))
			time.Sleep(5 * time.Minute)
			return errUnplugged
		}, 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				r := newRig(sources.Config{}, func(_ context.Context, take func(*pipeline.Unit)) error {
					attempts++
					return test.source(attempts, take)
				})
				r.stage.Backoff = pipeline.Backoff{Most: 30 * time.Second}
				end := r.run(t)
				time.Sleep(24 * time.Hour)
				if err := end(); err != nil {
					t.Error(err)
				}
				lines := strings.Count(r.log.String(), "\n")
				if attempts < test.least || lines < 8 || lines > 50 {
					t.Errorf("%d lines for %d attempts\n%.3000s", lines, attempts, r.log)
				}
				if !strings.Contains(r.log.String(), "times=") {
					t.Errorf("no line says how often\n%.2000s", r.log)
				}
			})
		})
	}
}

func TestLossAndReturnAreLoggedAgainAfterACalm(t *testing.T) {
	var u unsteady
	now := time.Now()
	later := func(d time.Duration) time.Time { now = now.Add(d); return now }
	for i, step := range []struct{ got, want bool }{
		{u.recover(now), true},
		{u.lose("gone", later(time.Hour)), true},
		{u.lose("gone", later(time.Minute)), false},
		{u.lose("gone from port 2", later(time.Second)), true},
		{u.lose("gone from port 3", later(time.Second)), false},
		{u.lose("gone", later(remind)), true},
		{u.recover(later(time.Second)), true},
		{u.lose("gone", later(time.Minute)), false},
		{u.recover(later(time.Second)), false},
		{u.lose("gone", later(calm)), true},
		{u.recover(later(time.Second)), true},
	} {
		if step.got != step.want {
			t.Errorf("step %d: %t, want %t", i, step.got, step.want)
		}
	}
}

func TestAStalledCameraIsNotCalledAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		r := newRig(sources.Config{}, func(_ context.Context, take func(*pipeline.Unit)) error {
			if attempts++; attempts == 3 {
				return errUnplugged
			}
			take(unit(true, 10))
			time.Sleep(5 * time.Second)
			return fmt.Errorf("no packet for 5s: %w", sources.ErrStalled)
		})
		r.stage.Backoff = pipeline.Backoff{Least: time.Second}
		end := r.run(t)
		if s := r.await(t, pipeline.StateStalled); !strings.Contains(s.Reason, "no packet for 5s") || !strings.Contains(s.Reason, "is connected") {
			t.Errorf("reason %q", s.Reason)
		}
		if s := r.await(t, pipeline.StateOffline); !strings.Contains(s.Reason, "unplugged") {
			t.Errorf("reason %q", s.Reason)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestASlowMachineSaysSo(t *testing.T) {
	stats := pipeline.NewStats()
	r := newRig(sources.Config{}, nil)
	r.stage.Env.Stats = stats
	passed := uint64(0)
	report, p := newReporter(r.stage.Env, "gate"), newPace(r.stage.Env, func() uint64 { return passed })
	report.set(pipeline.StateOnline, "")
	drops := stats.Drops("gate", "gate")
	now := time.Now()
	for i, window := range []struct {
		came    uint64
		why     pipeline.Reason
		dropped uint64
		passed  uint64
		says    string
	}{
		{250, pipeline.DropBehind, 0, 0, ""},
		{250, pipeline.DropSampled, 200, 0, ""},
		{250, pipeline.DropAwaitKeyframe, 200, 0, ""},
		{250, pipeline.DropBehind, 70, 0, "too slow for them: up to 30% are dropped"},
		{250, pipeline.DropBehind, 70, 120, "too slow for them: up to 80% are dropped"},
		{250, pipeline.DropStale, 250, 0, "too slow for them: up to 100% are dropped"},
		{250, pipeline.DropBehind, 5, 0, ""},
	} {
		p.received.Add(window.came)
		drops.Add(window.why, window.dropped)
		passed += window.passed
		if reason, ended := p.check(now); ended {
			report.keepsUp(reason)
		} else if i > 0 {
			t.Errorf("window %d has not ended", i)
		}
		now = now.Add(paceWindow)
		s := report.status
		if s.State != pipeline.StateOnline || (window.says == "") != (s.Reason == "") || !strings.Contains(s.Reason, window.says) {
			t.Errorf("window %d: %s %q, want %q", i, s.State, s.Reason, window.says)
		}
	}
	if lines := strings.Count(r.log.String(), "too fast for this machine"); lines != 1 {
		t.Errorf("%d lines\n%s", lines, r.log)
	}
}
