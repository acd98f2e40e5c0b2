package supervisor

import (
	"errors"
	"fmt"
	"strings"

	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
	"sightline/runtime/supervisor/restart"
)

// cause is why a box is to end, or has.
type cause struct {
	reason restart.Reason
	text   string
	// lasting says that the same would happen again.
	lasting bool
}

// causeOf says why a box ended that nobody asked to.
func causeOf(exit driver.Exit, said Health) cause {
	if said.Ended {
		text := said.Exit
		if text == "" {
			text = "it ended without being asked to"
		}
		return cause{restart.Exited, text, said.Permanent}
	}
	c := cause{reason: restart.Exited, text: exit.String()}
	switch {
	case strings.Contains(exit.Reason, "out of memory"):
		c.reason = restart.OutOfMemory
	case strings.HasPrefix(exit.Reason, "panic: "), crash(exit.Signal):
		c.reason = restart.Crashed
	case exit.Signal != "":
		c.reason = restart.Killed
	}
	return c
}

// crash says that a signal is one that a program brings upon itself; signal(7).
func crash(signal string) bool {
	switch signal {
	case "SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS":
		return true
	}
	return false
}

// intentError is that the supervisor could not do its own part: no fault of what was to be started.
type intentError struct{ err error }

func (e *intentError) Error() string { return e.err.Error() }

func (e *intentError) Unwrap() error { return e.err }

// wayOut says what to do about files that were changed.
func wayOut(err error) error {
	var tampered *store.TamperedError
	if errors.As(err, &tampered) {
		return fmt.Errorf("%w (sightline up --force FILE makes it anew)", err)
	}
	return err
}

// startCause says why no box came to be.
func startCause(err error) cause {
	var refused *driver.RefusedError
	var tampered *store.TamperedError
	c := cause{reason: restart.StartFailed, text: err.Error()}
	switch {
	case errors.As(err, &refused):
		c.reason, c.lasting = restart.Refused, true
	case errors.As(err, &tampered):
		c.reason, c.lasting = restart.Tampered, true
	}
	return c
}
