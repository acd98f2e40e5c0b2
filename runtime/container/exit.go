package container

import (
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

// Engines tell a program that was ended by a signal by the exit status of a shell: 128 and its number.
const (
	signalBase = 128
	signals    = 64
	killedCode = signalBase + int(unix.SIGKILL)
)

// exitOf says how a box ended, from what the engine says of its container, nil if it is gone. away is
// how long the engine could not be asked just before that.
func exitOf(state *container.State, away time.Duration, forced bool) driver.Exit {
	if state == nil {
		return driver.Exit{Code: -1, Reason: "someone else removed its container"}
	}
	exit := driver.Exit{Code: state.ExitCode}
	if n := state.ExitCode - signalBase; n > 0 && n <= signals {
		exit.Code, exit.Signal = -1, unix.SignalName(unix.Signal(n))
		if exit.Signal == "" {
			exit.Signal = fmt.Sprintf("signal %d", n)
		}
	}
	killed := state.ExitCode == killedCode
	switch {
	case killed && state.OOMKilled:
		exit.Reason = "out of memory"
	case killed && forced:
		exit.Reason = "killed by force"
	case away > 0:
		exit.Reason = fmt.Sprintf("its engine was gone or restarted, %s before it was known", away.Round(100*time.Millisecond))
	case state.Error != "":
		exit.Reason = state.Error
	}
	return exit
}
