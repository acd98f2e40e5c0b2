package main

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager, if one started this program, that the pipeline was taken up, and
// from then on, as often as it wants, that the supervisor answers.
func (s *station) notify(ctx context.Context) error {
	if sent, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil || !sent {
		return err
	}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return err
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_, err := daemon.SdNotify(false, daemon.SdNotifyStopping)
			return err
		case <-tick.C:
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
