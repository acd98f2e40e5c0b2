package soak

import (
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sinks/spool"
)

// look is what /metrics said at one moment.
type look struct {
	at      time.Time
	made    float64 // results, of this life
	trouble bool    // a disk does not take results
	waiting map[string]queue
	losses  map[string]map[string]float64 // by sink and reason
}

// queue is what waits for one sink.
type queue struct{ results, bytes float64 }

// refused is the reason of results that an upstream refused for good.
const refused = "refused"

func read(all series, sinks []string, at time.Time) look {
	l := look{
		at: at, made: all.sum(pipeline.ResultsMade), trouble: all.sum(pipeline.SpoolTrouble) > 0,
		waiting: map[string]queue{}, losses: map[string]map[string]float64{},
	}
	for _, sink := range sinks {
		l.waiting[sink] = queue{all.sum(pipeline.SpoolResults, of(sink)), all.sum(pipeline.SpoolBytes, of(sink))}
		l.losses[sink] = map[string]float64{refused: all.sum(pipeline.ResultsRefused, of(sink))}
		for _, why := range spool.Losses {
			l.losses[sink][string(why)] = all.sum(pipeline.ResultsLost, of(sink), `reason="`+string(why)+`"`)
		}
	}
	return l
}

// life is from one start of the program to its end.
type life struct {
	begin, end time.Time // end is zero while it lasts
	hard       bool      // it was killed
	last       look      // with what it had counted
	// firm is the newest look that is older than the end by more than a result needs to be safe.
	firm look
	some []look // the newest ones
}

// safeAfter is after how long every result has to be safe: the tenth of a second for which it waits for
// others to be synced with, and what a busy machine needs to sync.
const safeAfter = 2 * time.Second

func (l *life) see(k look) {
	if k.made < l.last.made {
		return // a look that came late
	}
	l.last = k
	l.some = append(l.some, k)
	for len(l.some) > 0 && k.at.Sub(l.some[0].at) > safeAfter {
		l.firm, l.some = l.some[0], l.some[1:]
	}
}

// diary is the lives of the program. Its methods may be called from any goroutine.
type diary struct {
	mu    sync.Mutex
	lives []*life
	cuts  []time.Time // when the classify stage was killed, and with it what was not safe
	boxed bool        // the classify stage outlives the program
}

// begin notes that the program is about to start.
func (d *diary) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lives = append(d.lives, &life{begin: time.Now()})
}

// end notes that the program is about to be ended.
func (d *diary) end(hard bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lives[len(d.lives)-1]
	l.end, l.hard = time.Now(), hard
	for len(l.some) > 0 && l.end.Sub(l.some[0].at) > safeAfter {
		l.firm, l.some = l.some[0], l.some[1:]
	}
	if hard && !d.boxed {
		d.cuts = append(d.cuts, l.end)
	}
}

// cut notes that the classify stage alone is about to be killed.
func (d *diary) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cuts = append(d.cuts, time.Now())
}

// now is the number of the present life, false between two.
func (d *diary) now() (life int, alive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.lives) - 1
	return n, n >= 0 && d.lives[n].end.IsZero()
}

// see notes a look at a life, unless that has ended meanwhile.
func (d *diary) see(life int, k look) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lives[life]
	if !l.end.IsZero() {
		return false
	}
	l.see(k)
	return true
}

// counted adds up the losses of a sink over all lives.
func (d *diary) counted(sink string) map[string]float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := map[string]float64{}
	for _, l := range d.lives {
		for why, n := range l.last.losses[sink] {
			sum[why] += n
		}
	}
	return sum
}
