package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"sightline/sources/sim/habits"
)

// garbage is what somebody sends who means somebody else. It begins with what is no packet of MQTT, no
// answer of RTSP or HTTP, and no frame between them.
func garbage(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	junk := make([]byte, 1+random.IntN(200))
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	junk[0] = 0
	return junk
}

// suffer has a fault come, and go after its time or when ctx ends.
func (s *soak) suffer(ctx context.Context, f Fault) error {
	switch f.Where {
	case atProgram:
		return s.strike(ctx, f)
	case atBroker:
		if f.What == stops {
			if err := s.site.broker.stop(); err != nil {
				return err
			}
			pause(ctx, f.For)
			return s.site.broker.start()
		}
		return s.spoil(ctx, f, s.site.broker.gate)
	case atHook:
		switch answer(f.What) {
		case busy, limited, broken, mute, refuses:
			s.site.hook.say(answer(f.What))
			pause(ctx, f.For)
			s.site.hook.say(well)
			return nil
		}
		return s.spoil(ctx, f, s.site.hook.gate)
	}
	for _, e := range s.site.cameras {
		if e.name == f.Where {
			return s.dazzle(ctx, f, e)
		}
	}
	return fmt.Errorf("fault %q: no such place", f.Where)
}

// spoil has a gate misbehave.
func (s *soak) spoil(ctx context.Context, f Fault, g *gate) error {
	switch f.What {
	case cutting, litters:
		g.cutOrLitter(f)
		pause(ctx, f.For/2)
		g.cutOrLitter(f)
		return nil
	default:
		g.be(mood(f.What))
		pause(ctx, f.For)
		g.be(open)
		return nil
	}
}

func (g *gate) cutOrLitter(f Fault) {
	if f.What == litters {
		g.litter(garbage(f.Seed))
		return
	}
	g.cut()
}

func (s *soak) dazzle(ctx context.Context, f Fault, e *eye) error {
	if f.What != habit {
		return s.spoil(ctx, f, e.gate)
	}
	all, err := habits.All()
	if err != nil {
		return err
	}
	h := all[f.Seed%uint64(len(all))]
	s.say("%s plays the habit %s", e.name, h.Name)
	stop, err := e.play(h)
	if err != nil {
		return err
	}
	pause(ctx, f.For)
	stop()
	return nil
}

// strike hits the program.
func (s *soak) strike(ctx context.Context, f Fault) error {
	stage, box := strings.CutPrefix(f.What, boxFault)
	switch {
	case f.What == reloads:
		if !s.settled(ctx) {
			return nil
		}
		return s.program.reload()
	case box:
		return s.killBox(ctx, stage)
	case f.What == fills:
		return s.stuff(ctx, f)
	case f.What == killed:
		return s.restart(ctx, f, true)
	}
	return s.restart(ctx, f, false)
}

// restart ends the program, and starts it again after a while.
func (s *soak) restart(ctx context.Context, f Fault, hard bool) error {
	if hard && !s.calm(ctx) {
		s.say("not killed: results were being let go all the time")
		return nil
	}
	if !hard && !s.settled(ctx) {
		return nil
	}
	s.diary.end(hard)
	if hard {
		s.program.kill()
		for _, b := range s.books() {
			b.forgotten()
		}
	} else if err := s.program.stop(); err != nil {
		return err
	}
	pause(ctx, min(f.For/4, 5*time.Second))
	if err := s.program.start(); err != nil {
		return err
	}
	s.diary.begin()
	return nil
}

// stuff has the disk be full for a while. It is over when the program has seen that there is room again.
func (s *soak) stuff(ctx context.Context, f Fault) error {
	if !s.settled(ctx) {
		return nil
	}
	if err := s.program.disk.fill(); err != nil {
		return err
	}
	pause(ctx, f.For)
	if err := s.program.disk.empty(); err != nil {
		return err
	}
	if s.settled(ctx) {
		pause(ctx, roomPatience)
	}
	return nil
}

// roomPatience is how long what is not a result, and did not fit on the disk, may be in memory once there is room.
const roomPatience = 3 * time.Second

// settled waits until the program is up, its results are on the disk, and nothing is refused, which would be
// seen by no look if it were the last. It is false when ctx ends before.
func (s *soak) settled(ctx context.Context) bool {
	for ctx.Err() == nil {
		if l, err := s.look(ctx); err == nil && !l.trouble && s.site.hook.mood() != refuses {
			return true
		}
		pause(ctx, 100*time.Millisecond)
	}
	return false
}

// killBox ends a box as kill -9 does.
func (s *soak) killBox(ctx context.Context, stage string) error {
	if stage == s.classify && !s.calm(ctx) {
		s.say("stage %s not killed: results were being let go all the time", stage)
		return nil
	}
	for deadline := time.Now().Add(calmPatience); time.Now().Before(deadline) && ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		pid := s.program.boxOf(stage)
		if pid == 0 {
			continue // it is being started
		}
		if stage == s.classify {
			s.diary.cut()
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		return nil
	}
	s.say("stage %s not killed: it has no process", stage)
	return nil
}

// calmPatience is how long a kill waits for the moment.
const calmPatience = 40 * time.Second

// calm waits until no result is being let go, and looks at what was. What is counted between that
// look and a kill is known to nobody, so there is to be nothing.
func (s *soak) calm(ctx context.Context) bool {
	for deadline := time.Now().Add(calmPatience); time.Now().Before(deadline) && ctx.Err() == nil; pause(ctx, 250*time.Millisecond) {
		if s.site.hook.mood() == refuses {
			continue
		}
		l, err := s.look(ctx)
		if err == nil && !l.trouble && l.waiting[s.tight].bytes < hookSpool/2 {
			return true
		}
	}
	return false
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
