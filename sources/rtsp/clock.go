package rtsp

import (
	"time"

	"github.com/pion/rtcp"
)

// clockRate is that of all three payload formats: RFC 6184 §5.1, RFC 7798 §4.1, RFC 2435 §3.
const clockRate = 90000

const (
	// ntpOffset is the number of seconds from 1900, NTP's epoch, to 1970.
	ntpOffset = 2208988800
	// maxClockError is how far a camera's clock may be off the host's. A camera that starts at 1970,
	// counts from its start, or lives in a wrong time zone is told by arrival instead.
	maxClockError = time.Hour
	// maxJump is how far RTP time may run away from the host's before it counts as started anew.
	maxJump = 10 * time.Second
)

// ticks converts RTP time to time.
func ticks(n int64) time.Duration {
	return time.Duration(n/clockRate)*time.Second + time.Duration(n%clockRate)*time.Second/clockRate
}

// timeline makes one growing presentation time of 32-bit RTP timestamps, which wrap around every 13
// hours and which cameras set back now and then.
type timeline struct {
	started bool
	last    uint32
	at      time.Time // arrival of last
	pts     time.Duration
}

// advance returns the presentation time of a picture, counted from the first one, and whether the
// camera's timestamps jumped. After a jump time goes on as the host's clock did.
func (t *timeline) advance(timestamp uint32, arrival time.Time) (pts time.Duration, jumped bool) {
	if !t.started {
		*t = timeline{started: true, last: timestamp, at: arrival}
		return 0, false
	}
	step := ticks(int64(int32(timestamp - t.last)))
	passed := arrival.Sub(t.at)
	if off := step - passed; off > maxJump || off < -maxJump {
		step, jumped = passed, true
	}
	t.pts += step
	t.last, t.at = timestamp, arrival
	return t.pts, jumped
}

// report is what a sender report says of time: the same instant by the camera's clock and in RTP
// time (RFC 3550 §6.4.1).
type report struct {
	source    uint32 // SSRC
	ntp       uint64 // seconds since 1900 and their fraction, 32 bits each
	timestamp uint32
}

// senderClock converts RTP time to the camera's time by its sender reports.
type senderClock struct {
	known bool
	last  report
	// nanoseconds says that the fraction counts nanoseconds instead of 2⁻³² s. So it is with every
	// server that uses gortsplib before version 5 (its issue 869), MediaMTX above all.
	nanoseconds bool
}

// take notes a sender report. Zero is what a camera without a clock sends (RFC 3550 §6.4.1).
func (c *senderClock) take(sr *rtcp.SenderReport) {
	if sr.NTPTime == 0 {
		return
	}
	next := report{source: sr.SSRC, ntp: sr.NTPTime, timestamp: sr.RTPTime}
	if c.known && next.source == c.last.source {
		c.judge(c.last, next)
	}
	c.known, c.last = true, next
}

// judge finds out how the camera writes fractions: in one of both ways its clock has gone on by as
// much as its RTP time.
func (c *senderClock) judge(from, to report) {
	const near, far = 10 * time.Millisecond, 20 * time.Millisecond
	step := ticks(int64(int32(to.timestamp - from.timestamp)))
	if step <= 0 || step > 10*time.Minute {
		return
	}
	standard := (ntpTime(to.ntp, false).Sub(ntpTime(from.ntp, false)) - step).Abs()
	odd := (ntpTime(to.ntp, true).Sub(ntpTime(from.ntp, true)) - step).Abs()
	switch {
	case standard < near && odd > far:
		c.nanoseconds = false
	case odd < near && standard > far:
		c.nanoseconds = true
	}
}

// forget drops what is known; RTP time has started anew.
func (c *senderClock) forget() { *c = senderClock{nanoseconds: c.nanoseconds} }

// capture returns the camera's time of an RTP timestamp of a source, zero when no report of that
// source is known.
func (c *senderClock) capture(source, timestamp uint32) time.Time {
	if !c.known || c.last.source != source {
		return time.Time{}
	}
	return ntpTime(c.last.ntp, c.nanoseconds).Add(ticks(int64(int32(timestamp - c.last.timestamp))))
}

// ntpTime converts an NTP timestamp. Without its highest bit it is one after February 2036 (RFC 4330
// §3).
func ntpTime(ntp uint64, nanoseconds bool) time.Time {
	seconds, fraction := int64(ntp>>32), int64(ntp&0xffffffff)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	if !nanoseconds {
		fraction = fraction * int64(time.Second) >> 32
	}
	return time.Unix(seconds-ntpOffset, fraction)
}

// plausible tells whether a camera's time can be meant.
func plausible(captured, arrival time.Time) bool {
	return captured.Sub(arrival).Abs() <= maxClockError
}
