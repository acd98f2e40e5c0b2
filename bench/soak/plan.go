package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Fault is something that goes wrong for a while.
type Fault struct {
	At    time.Duration `json:"at_ns"` // since the beginning
	For   time.Duration `json:"for_ns"`
	Where string        `json:"where"` // a camera, broker, hook, or program
	What  string        `json:"what"`
	Seed  uint64        `json:"seed"` // what it is made of, such as garbage
}

// String is for people.
func (f Fault) String() string {
	return fmt.Sprintf("%s: %s for %s", f.Where, f.What, f.For.Round(100*time.Millisecond))
}

// The places of faults that are no camera.
const (
	atBroker  = "broker"
	atHook    = "hook"
	atProgram = "program"
)

// What goes wrong besides the moods of a gate and the answers of a web server.
const (
	cutting  = "cut"
	litters  = "garbage"
	habit    = "habit"
	stops    = "stopped"
	killed   = "killed"
	again    = "stopped and started"
	reloads  = "reloaded"
	fills    = "full disk"    // of the state folder
	boxFault = "box killed: " // and the stage
)

// ends tells whether a process ends by it.
func (f Fault) ends() bool {
	return f.What == killed || f.What == again || strings.HasPrefix(f.What, boxFault)
}

// card is a kind of fault, which comes as often as any other.
type card struct {
	where, what string
}

// anyCamera stands for one of the cameras.
const anyCamera = "camera"

// deck has every kind once; full says that the disk can be.
func deck(box string, full bool) []card {
	cards := []card{{atProgram, killed}, {atProgram, killed}, {atProgram, again}, {atProgram, reloads}}
	if full {
		cards = append(cards, card{atProgram, fills})
	}
	for _, where := range []string{anyCamera, atBroker, atHook} {
		for _, what := range []string{string(gone), string(stalled), string(slow), cutting, litters} {
			cards = append(cards, card{where, what})
		}
	}
	cards = append(cards, card{anyCamera, habit}, card{atBroker, stops})
	for _, a := range []answer{busy, limited, broken, mute, refuses} {
		cards = append(cards, card{atHook, string(a)})
	}
	if box == processBox {
		for _, stage := range []string{anyCamera, "scene", "cloud", "hook"} {
			cards = append(cards, card{atProgram, boxFault + stage})
		}
	}
	return cards
}

// plan says what goes wrong in a soak. The same arguments give the same plan. Every kind of fault comes
// once before any comes again, no place has two at once, and all are over at the end. What ends a process
// comes in the first half only: the other shows what one uses that lives on.
func plan(seed uint64, length time.Duration, cameras []string, box string, full bool) []Fault {
	random := rand.New(rand.NewPCG(seed, 0x50a1))
	pause := bound(length/60, 400*time.Millisecond, 8*time.Second)
	most := bound(length/12, 1500*time.Millisecond, 45*time.Second)
	rest := bound(length/10, 3*time.Second, time.Minute) // that the program has between two of its own
	free := map[string]time.Duration{atProgram: rest}
	var faults []Fault
	var cards []card
	for at := pause; ; at += time.Duration(random.ExpFloat64() * float64(pause)) {
		if len(cards) == 0 {
			cards = deck(box, full)
			random.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
		}
		f := Fault{At: at, What: cards[0].what, Where: cards[0].where, Seed: random.Uint64()}
		if f.Where == anyCamera {
			f.Where = cameras[random.IntN(len(cameras))]
		}
		if f.What == boxFault+anyCamera {
			f.What = boxFault + cameras[random.IntN(len(cameras))]
		}
		f.For = most/8 + time.Duration(random.Int64N(int64(most-most/8)))
		f.At = max(f.At, free[f.Where])
		cards = cards[1:]
		if at > length {
			return faults
		}
		if f.At+f.For > length || f.ends() && f.At > length/2 {
			continue
		}
		free[f.Where] = f.At + f.For
		if f.Where == atProgram {
			free[f.Where] += rest
		}
		faults = append(faults, f)
	}
}

func bound(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }
