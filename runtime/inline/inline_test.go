package inline_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sightline/runtime/inline"
)

func runner(tasks ...inline.Task) *inline.Runner {
	return &inline.Runner{
		Tasks: tasks,
		Delay: func(_ error, failures int) time.Duration { return time.Duration(failures) * time.Second },
		Grace: 5 * time.Second,
		Log:   slog.New(slog.DiscardHandler),
	}
}

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func TestTasksStopFromTheLastToTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		task := func(name string) inline.Task {
			return inline.Task{Name: name, Run: func(_ context.Context, stop <-chan struct{}) error {
				<-stop
				time.Sleep(time.Second) // what it took is finished first
				j.note(name)
				return nil
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := runner(task("publish"), task("classify"), task("capture")).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{"capture", "classify", "publish"}; !slices.Equal(j.lines, want) {
			t.Errorf("stopped in the order %v, want %v", j.lines, want)
		}
	})
}

func TestAFailingOrPanickingTaskIsStartedAgainAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Duration
		began := time.Now()
		bad := inline.Task{Name: "bad", Run: func(context.Context, <-chan struct{}) error {
			starts = append(starts, time.Since(began))
			if len(starts) == 2 {
				panic("oh")
			}
			return errors.New("no")
		}}
		var failures []string
		bad.Failed = func(err error, _ time.Duration) { failures = append(failures, err.Error()) }
		good := inline.Task{Name: "good", Run: func(ctx context.Context, stop <-chan struct{}) error {
			<-stop
			return ctx.Err()
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if err := runner(good, bad).Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, time.Second, 3 * time.Second}
		if !slices.Equal(starts, want) {
			t.Errorf("started at %v, want %v", starts, want)
		}
		if len(failures) != 3 || !strings.Contains(failures[1], "panic: oh") {
			t.Errorf("failures told: %q", failures)
		}
	})
}

func TestHowLongToWaitMayDependOnTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hopeless := errors.New("hopeless")
		var starts []time.Duration
		began := time.Now()
		r := runner(inline.Task{Name: "bad", Run: func(context.Context, <-chan struct{}) error {
			if starts = append(starts, time.Since(began)); len(starts) == 1 {
				return hopeless
			}
			return errors.New("no")
		}})
		r.Delay = func(err error, failures int) time.Duration {
			if errors.Is(err, hopeless) {
				return time.Minute
			}
			return time.Duration(failures) * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), 63*time.Second)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []time.Duration{0, time.Minute, 62 * time.Second}; !slices.Equal(starts, want) {
			t.Errorf("started at %v, want %v", starts, want)
		}
	})
}

func TestATaskThatDoesNotStopIsEndedAfterTheGraceAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := inline.Task{Name: "stuck", Run: func(ctx context.Context, _ <-chan struct{}) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := runner(stuck).Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("error %v does not name the task", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("ended after %s, want the grace of 5s", took)
		}
	})
}

func TestATaskThatEndsByNothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		hung := inline.Task{Name: "hung", Run: func(context.Context, <-chan struct{}) error {
			<-free
			return nil
		}}
		published := false
		publish := inline.Task{Name: "publish", Run: func(_ context.Context, stop <-chan struct{}) error {
			<-stop
			published = true
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := runner(publish, hung).Run(ctx)
		if err == nil || err.Error() != "stop hung: not done within 5s" {
			t.Errorf("error %v does not name the task, and it alone", err)
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("ended after %s, want the grace of 5s and 2s more", took)
		}
		close(free)
		synctest.Wait()
		if !published {
			t.Error("the task behind it was not asked to stop")
		}
	})
}
