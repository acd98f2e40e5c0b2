package capture

import (
	"errors"
	"fmt"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/motion"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

// unseen is how long units may come without a picture before the stage calls itself stalled.
const unseen = 10 * time.Second

// worker is the goroutine from the queue to the links: it chooses, decodes and delivers.
type worker struct {
	stage     *Stage
	queue     *queue
	status    *reporter
	drops     pipeline.Drops
	delivery  *delivery
	inspector nal.Inspector
	sampler   sampler
	gate      *motion.Gate    // nil: every picture goes through
	decoder   *decode.Decoder // nil before the first unit
	codec     pipeline.Codec  // of the decoder
	take      func(*picture.Picture)

	decoded pipeline.Counter
	seconds pipeline.Histogram

	held     held
	awaiting bool   // nothing can be decoded before the next keyframe
	entry    uint64 // unit that decoding began with, until its picture comes out; else 0
	catching catching
	width    int // of the last picture
	height   int
	seen     time.Time // when a picture last came out well
	trouble  error     // why none does

	// of the call of Decode in progress
	pictures int           // that came out
	damaged  uint64        // unit whose picture was damaged; 0: none
	spent    time.Duration // delivering them
	failed   error         // of delivering
}

func newWorker(s *Stage, q *queue, status *reporter, drops pipeline.Drops) *worker {
	labels := []string{"stage", s.Env.Stage, "source", s.Env.Stage}
	w := &worker{
		stage: s, queue: q, status: status, drops: drops,
		delivery: newDelivery(s),
		catching: catching{credit: mostCredit},
		sampler:  newSampler(s.Config.Sample.FPS),
		decoded:  s.Env.Stats.Counter(pipeline.FramesDecoded, labels...),
		seconds:  s.Env.Stats.Histogram(pipeline.DecodeSeconds, labels...),
		awaiting: true,
	}
	w.take = w.takePicture
	if m := s.Config.Motion; m != nil {
		w.gate = motion.New(*m)
	}
	return w
}

// run works until the queue is closed and empty.
func (w *worker) run() error {
	defer w.close()
	for it := w.queue.next(); it != nil; it = w.queue.next() {
		w.delivery.await()
		err := w.step(it)
		w.queue.release(it)
		if err != nil {
			return err
		}
	}
	return w.interrupt()
}

// close frees everything; pictures still inside the decoder are dropped.
func (w *worker) close() {
	w.queue.close(true)
	w.delivery.close()
	w.forgo()
	if w.gate != nil {
		w.gate.Close()
	}
	if w.decoder != nil {
		_ = w.decoder.Reset()
		w.drops.Add(pipeline.DropStopping, uint64(w.decoder.Missing()))
		w.shut()
	}
}

func (w *worker) shut() {
	_ = w.decoder.Close() // never fails
	w.decoder = nil
}

// step deals with one unit. An error ends the stage.
func (w *worker) step(it *item) error {
	if !w.delivery.wanted() {
		err := w.interrupt()
		w.hold(it)
		return err
	}
	if err := w.catch(); err != nil {
		w.drops.Add(pipeline.DropStopping, 1)
		return err
	}
	if !w.inspector.Follows(&it.unit) && !it.gap {
		it.gap = true
		if !it.unit.Keyframe {
			it.unit.Lost = max(it.unit.Lost, 1) // at least; nobody noticed
		}
	}
	if it.gap || lossy(&it.unit) {
		if err := w.interrupt(); err != nil {
			return err
		}
	}
	if why := w.refuse(&it.unit); why != "" {
		w.drops.Add(why, 1)
		return nil
	}
	if err := w.prepare(it.unit.Codec); err != nil {
		w.drops.Add(pipeline.DropStopping, 1)
		return err
	}
	return w.decode(it)
}

// interrupt deals with units missing before the next one: what is inside the decoder can still be
// shown, then it takes a keyframe to go on.
func (w *worker) interrupt() error {
	if w.awaiting {
		return nil
	}
	w.awaiting = true
	return w.drain()
}

func (w *worker) drain() error {
	w.begin()
	err := w.decoder.Drain(w.take)
	w.settle()
	if w.failed == nil && err != nil {
		w.trouble = err
	}
	return w.failed
}

// lossy tells whether packets are missing that the unit, or those after it, need. A JPEG needs no other
// unit, and arrives whole or not at all.
func lossy(u *pipeline.Unit) bool { return u.Lost > 0 && u.Codec != pipeline.MJPEG }

// refuse returns why a unit is not decoded, or nothing.
func (w *worker) refuse(u *pipeline.Unit) pipeline.Reason {
	lone := w.inspector.NonReference(u)
	switch {
	case !w.delivery.wanted():
		w.awaiting, w.seen = true, time.Time{}
		return pipeline.DropNoConsumer
	case w.stage.Config.Sample.Every == sources.EveryKeyframe && !u.Keyframe:
		return pipeline.DropNotKeyframe
	case w.behind(u):
		return pipeline.DropBehind
	case w.awaiting && lossy(u):
		w.watch(errNoKeyframe)
		return pipeline.DropDamaged
	case w.awaiting && !u.Keyframe:
		w.watch(errNoKeyframe)
		return pipeline.DropAwaitKeyframe
	case lone && !w.sampler.due(u.PTS):
		return pipeline.DropNonReference
	}
	return ""
}

// behind tells whether a unit must go because the decoder does not keep up: it is older than the
// staleness budget, and either a keyframe waits with which to go on, or it is not worth it any more to
// decode what nobody will see.
func (w *worker) behind(u *pipeline.Unit) bool {
	age := time.Since(u.Received)
	if !w.old(age) {
		return false
	}
	units := w.queue.length() + 1
	if !w.queue.catchUp(false) {
		if !w.catching.vain(age, units) {
			return false
		}
		w.queue.catchUp(true)
	}
	w.awaiting = true
	if w.decoder != nil {
		w.reset()
	}
	return true
}

// old tells whether a picture of this age is beyond the staleness budget; 0 is no budget.
func (w *worker) old(age time.Duration) bool {
	budget := w.stage.budget()
	return budget > 0 && age > budget
}

// prepare opens the decoder, or another one when the codec has changed.
func (w *worker) prepare(codec pipeline.Codec) error {
	if w.decoder != nil && w.codec == codec {
		return nil
	}
	if w.decoder != nil {
		if err := w.drain(); err != nil {
			return err
		}
		w.shut()
	}
	d, err := decode.Open(decode.Options{Codec: codec, Decoder: w.stage.Config.Decoder})
	if err != nil {
		return pipeline.Permanent(err)
	}
	w.decoder, w.codec, w.width = d, codec, 0
	return nil
}

func (w *worker) decode(it *item) error {
	if w.awaiting {
		w.awaiting, w.entry = false, it.sequence
	}
	w.begin()
	began := time.Now()
	defer func() { w.catching.took = time.Since(began) }()
	err := w.decoder.Decode(&it.unit, it.sequence, w.take)
	w.seconds.Observe(time.Since(began) - w.spent)
	w.settle()
	if err != nil {
		w.drops.Add(pipeline.DropDamaged, 1)
		w.watch(err)
		w.damaged = it.sequence
	}
	switch {
	case w.failed != nil:
		return w.failed
	case errors.Is(err, decode.ErrRefused):
		return pipeline.Permanent(err)
	}
	if w.damaged != 0 {
		w.awaiting = true
		w.finish()
		if w.trouble != nil { // for long: perhaps the decoder itself is broken
			w.shut()
		}
	}
	if w.stage.Config.Sample.Every == sources.EveryKeyframe && w.pictures == 0 && !w.awaiting {
		return w.drain() // or it would come out several keyframes later
	}
	return nil
}

func (w *worker) begin() { w.pictures, w.damaged, w.spent, w.failed = 0, 0, 0, nil }

// finish takes what came before the damage out of the decoder, and forgets the rest.
func (w *worker) finish() {
	if err := w.decoder.Drain(w.take); err != nil {
		w.trouble = err
	}
	w.settle()
}

// reset forgets what is inside the decoder.
func (w *worker) reset() {
	if err := w.decoder.Reset(); err != nil {
		w.trouble = err
	}
	w.settle()
}

// settle counts the units that turned out to give no picture.
func (w *worker) settle() { w.drops.Add(pipeline.DropDamaged, uint64(w.decoder.Missing())) }

// takePicture deals with one picture out of the decoder.
func (w *worker) takePicture(p *picture.Picture) {
	began := time.Now()
	defer func() { w.spent += time.Since(began) }()
	w.pictures++
	w.decoded.Add(1)
	leads := w.leads(p)
	switch {
	case w.failed != nil:
		w.drops.Add(pipeline.DropStopping, 1)
	case p.Corrupt || w.damaged != 0 && p.Sequence > w.damaged:
		w.damaged = p.Sequence
		w.drops.Add(pipeline.DropDamaged, 1)
		w.watch(errDamaged)
	case leads || p.Partial:
		w.drops.Add(pipeline.DropAwaitKeyframe, 1)
		w.watch(errNoKeyframe)
	case p.Hidden:
		w.drops.Add(pipeline.DropHidden, 1)
		w.well(p)
	case !w.sampler.choose(p.PTS):
		w.drops.Add(pipeline.DropSampled, 1)
		w.well(p)
	case w.old(began.Sub(p.Received)):
		w.drops.Add(pipeline.DropStale, 1)
		w.well(p)
	case !w.moves(p):
		w.drops.Add(pipeline.DropNoMotion, 1)
		w.well(p)
	default:
		w.well(p)
		w.catching.earn()
		w.deliver(p)
	}
}

// leads tells whether a picture is shown before the keyframe that decoding began with. Such a picture
// builds on what was before the keyframe, which libavcodec does not always tell.
func (w *worker) leads(p *picture.Picture) bool {
	const inside = 16 // units that a decoder holds back at most
	if w.entry != 0 && (p.Sequence == w.entry || p.Sequence > w.entry+inside) {
		w.entry = 0
	}
	return w.entry != 0 && p.Sequence > w.entry
}

// moves tells whether a picture goes through the gate. One that cannot be looked at does: delivering it
// tells why.
func (w *worker) moves(p *picture.Picture) bool {
	if w.gate == nil {
		return true
	}
	moves, err := w.gate.Moves(p)
	return moves || err != nil
}

func (w *worker) deliver(p *picture.Picture) {
	if !w.delivery.await() {
		w.drops.Add(pipeline.DropStopping, 1)
		return
	}
	sent, err := w.delivery.send(p)
	if err != nil {
		w.failed = fmt.Errorf("capture %s: %w", w.stage.Env.Stage, err)
		w.drops.Add(pipeline.DropStopping, 1)
	} else if sent == 0 {
		w.drops.Add(pipeline.DropNoConsumer, 1)
	}
}

// well notes that a picture came out as it should.
func (w *worker) well(p *picture.Picture) {
	w.seen = time.Now()
	if w.trouble != nil {
		w.trouble = nil
		w.status.recover()
	}
	if p.Width != w.width || p.Height != w.height {
		w.width, w.height = p.Width, p.Height
		w.status.works(w.decoder.Name(), p.Width, p.Height)
	}
}

// watch notes why no picture came, and reports a stall when none has for long.
func (w *worker) watch(why error) {
	now := time.Now()
	if w.seen.IsZero() {
		w.seen = now
	}
	if now.Sub(w.seen) < unseen {
		return
	}
	if w.trouble == nil || w.trouble.Error() != why.Error() {
		w.trouble = why
		w.status.stalled(fmt.Sprintf("pictures arrive, but none can be shown: %v", why))
	}
}

var (
	errNoKeyframe = errors.New("no keyframe has come")
	errDamaged    = errors.New("they are damaged")
)
