package capture

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// How often a camera that stays away, or that comes and goes, is mentioned in the log: the first time,
// for some new reasons, and then at intervals that double. In a day that makes fewer than 50 lines.
const (
	remind      = 5 * time.Minute
	remindMost  = 2 * time.Hour
	maxMentions = 5                // reasons mentioned beside the reminders
	calm        = 10 * time.Minute // pictures for so long make the losses before forgotten
)

// unsteady is a time in which a camera was lost, perhaps again and again. It decides what is worth a
// line in the log. The zero value is a steady camera.
type unsteady struct {
	losses    int // failed attempts and stalls since it began
	began     time.Time
	back      time.Time // when pictures came again; zero: they do not
	due       time.Time // of the next reminder
	step      time.Duration
	mentioned []string // reasons, their numbers left out
	said      bool     // that it is lost, so that its return is worth a line too
}

// lose notes a loss, and tells whether to log it.
func (u *unsteady) lose(reason string, now time.Time) bool {
	if u.losses == 0 || u.over(now) {
		*u = unsteady{began: now, step: remind, due: now.Add(remind)}
	}
	u.losses++
	u.back = time.Time{}
	kind := withoutNumbers(reason)
	fresh := len(u.mentioned) < maxMentions && !slices.Contains(u.mentioned, kind)
	if fresh {
		u.mentioned = append(u.mentioned, kind)
	}
	due := !now.Before(u.due)
	if due {
		u.step = min(2*u.step, remindMost)
		u.due = now.Add(u.step)
	}
	u.said = u.said || fresh || due
	return fresh || due
}

// recover notes that pictures come again, and tells whether to log it.
func (u *unsteady) recover(now time.Time) bool {
	if u.losses == 0 {
		return true
	}
	if u.back.IsZero() {
		u.back = now
	}
	said := u.said
	u.said = false
	return said
}

// over tells whether pictures have come for long enough.
func (u *unsteady) over(now time.Time) bool { return !u.back.IsZero() && now.Sub(u.back) >= calm }

// withoutNumbers makes reasons alike that differ in a port or a duration only.
func withoutNumbers(reason string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, reason)
}
