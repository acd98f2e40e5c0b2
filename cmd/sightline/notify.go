package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// reloading tells the service manager that the pipeline file is being read again, until the returned
// function is called.
func (s *station) reloading() (done func()) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return func() {}
	}
	s.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
	return func() { s.say(daemon.SdNotifyReady) }
}

// statusLine is what the service manager shows of the pipeline file.
func (s *station) statusLine() {
	f := s.file.now()
	switch {
	case f.Problem != "":
		s.say("STATUS=" + oneLine(f.Name+" on the disk is not what runs: "+f.Problem)) // each line is a message
	case f.Name != "":
		s.say("STATUS=runs " + oneLine(f.Name))
	}
}

func (s *station) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Debug("tell the service manager", "err", err)
	}
}

// notify tells the service manager, if one started this program, that the pipeline was taken up, and
// from then on, as often as it wants, that the supervisor answers; when ctx ends, that it stops.
func (s *station) notify(ctx context.Context) error {
	if sent, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil || !sent {
		return err
	}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return err
	}
	var due <-chan time.Time // never, without a watchdog
	if every > 0 {
		tick := time.NewTicker(every / 3)
		defer tick.Stop()
		due = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			_, err := daemon.SdNotify(false, daemon.SdNotifyStopping)
			return err
		case <-due:
		}
		asking, cancel := context.WithTimeout(ctx, every/3)
		s.super.List(asking)
		answered := asking.Err() == nil
		cancel()
		if answered {
			if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
				return err
			}
		}
	}
}
