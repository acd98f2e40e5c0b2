package bench

import "time"

// tracker follows the pictures of one camera. Their clock comes around with every lap, and the
// numbers that the pipeline gives them do not: a result that seems a lap younger than those before it
// is that lap older.
type tracker struct {
	schedule Schedule
	begun    bool
	ahead    int64 // of a picture's number over its sequence, as the newest result has it
}

// oldest is how many laps late a result may be; what seems later is of a stage that began to count
// anew.
const oldest = 15

// number is the number of the picture of a result that was received at a time. It is false when no
// picture fits.
func (t *tracker) number(counter uint32, sequence int64, at time.Duration) (int64, bool) {
	n, ok := t.schedule.Number(counter, at)
	if !ok {
		return 0, false
	}
	laps := (n - sequence - t.ahead + t.schedule.Lap/2) / t.schedule.Lap
	if t.begun && laps > 0 && laps <= oldest && n >= laps*t.schedule.Lap {
		n -= laps * t.schedule.Lap
	}
	t.begun, t.ahead = true, n-sequence
	return n, true
}

// between is how many pictures are taken from begin until before end.
func (s Schedule) between(begin, end time.Duration) int {
	return int(s.next(end) - s.next(begin))
}

// next is the number of the first picture taken at a time or later.
func (s Schedule) next(at time.Duration) int64 {
	if at <= s.Begin {
		return 0
	}
	n := s.latest(at)
	if s.Taken(n) < at {
		n++
	}
	return n
}
