package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// Disk is a Queue in the files of a folder, so that results outlive the process and the power.
//
// A result is safe once it is written and synced; many share one sync, and Sync waits for it. Peek
// does not: it hands results out as they come, and those that are acknowledged before their turn to be
// written never are, which spares the disk. When the disk does not take results, be it full, read-only
// or gone, they are kept in memory, up to Memory bytes, and State is told; the disk is tried again
// until it does.
//
// After any end of the process, and of the power, what was safe is there again, in order. What was
// acknowledged just before the end may be handed out again, with the same ids.
//
// Set the fields before Open. The functions are called while the queue is locked: they return soon
// and do not call back.
type Disk struct {
	Folder string // made unless it is there; one queue at a time has it
	Config sinks.Spool
	// Delay is how long a result waits for others to be synced with; zero: 5 ms. The longer, the
	// less is written: an upstream that acknowledges sooner keeps results off the disk.
	Delay time.Duration
	// Memory is how many bytes of results may wait for the disk; zero: 16 MiB.
	Memory int64
	// Retry is the wait between tries while the disk does not take results; zero: 250 ms to 10 s.
	Retry pipeline.Backoff

	Lost    func(why Loss, n int) // told of every loss; may be nil
	Damaged func(Damage)          // told of what cannot be read back; may be nil
	// State is told why results are only in memory or why none can be read back, and, by nil, that all
	// is well again; may be nil.
	State func(error)

	enter  func(path string) (folder, func() error, error) // nil: enter
	clocks clocks                                          // nil: machine

	mu      sync.Mutex
	room    int64 // Memory, within the limits
	running bool
	closing bool
	files   folder // nil: not entered yet
	leave   func() error
	timer   timer
	journal journal
	safe    deque[entry] // the last records of the journal, as far as they are kept in memory too
	open    deque[entry] // what comes behind the journal, not safe yet
	window  []entry      // the first records of the journal, as far as they were read from disk
	writing int          // how many of open are being written
	gone    int          // how many that were being written are done with already
	tickets uint64       // of the result put last
	bytes   struct{ safe, open int64 }

	flying    int // how many of the oldest Peek has handed out
	condemned int // how many of those the limits have taken away since

	trouble error // why the disk does not take results
	unread  struct {
		cause error     // why results cannot be read back
		since time.Time // since when
	}
	told    error         // what State was told
	busy    bool          // the last segment is being written to
	stuck   []*segment    // whose files could not be removed yet
	wake    chan struct{} // something to do for the writer
	changed chan struct{} // closed when something became safe; nil: nobody waits
	ended   chan struct{} // the writer is done
	writer  writer
	reader  reader
	buffer  []byte // for encoding
	spare   [][]byte
}

// entry is one message.
type entry struct {
	message  pipeline.Message
	kind     string // of its record
	json     []byte
	time     int64     // the queue's time when it was put
	came     time.Time // when it was put
	ticket   uint64    // counts what was put
	position uint64    // of what was read from disk
}

func (e *entry) size() int64 { return int64(len(e.json)) + lineFurther }

var (
	_ Queue  = (*Disk)(nil)
	_ Syncer = (*Disk)(nil)
)

var errNotOpen = errors.New("spool is not open")

const (
	defaultDelay  = 5 * time.Millisecond
	defaultMemory = 16 << 20
	// cacheLimit is how many bytes of results are kept in memory that are on disk, so that what goes
	// upstream soon is not read back.
	cacheLimit = 1 << 20
	// slack is left of the limit for headers and marks.
	slack = 512
)

// Open makes and locks the folder, finds what waits in it, and begins to write. A folder that cannot
// be made for now is no error: State is told. What is an error: a folder that another queue has
// (ErrInUse), that cannot be read, or that a newer version of Sightline has written.
func (d *Disk) Open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running {
		return fmt.Errorf("open spool %q: it is open", d.Folder)
	}
	d.prepare()
	err := d.load()
	if errors.Is(err, errCannotCreate) {
		d.writer.tries, d.writer.next = 1, time.Now().Add(d.Retry.Wait(1))
		d.fail(err)
	} else if err != nil {
		return fmt.Errorf("open spool %q: %w", d.Folder, err)
	}
	d.running, d.closing = true, false
	d.wake, d.ended = make(chan struct{}, 1), make(chan struct{})
	go d.run(d.ended)
	return nil
}

func (d *Disk) prepare() {
	d.Delay = cmp.Or(d.Delay, defaultDelay)
	d.Memory = cmp.Or(d.Memory, defaultMemory)
	d.room = min(d.Memory, int64(d.Config.MaxBytes))
	if d.Retry == (pipeline.Backoff{}) {
		d.Retry = pipeline.Backoff{Least: 250 * time.Millisecond, Most: 10 * time.Second}
	}
	if d.enter == nil {
		d.enter = enter
	}
	if d.clocks == nil {
		d.clocks = machine{}
	}
	d.timer.begin(d.clocks)
	d.journal = journal{head: 1, end: 1, marked: 1}
	d.safe, d.open, d.window = deque[entry]{}, deque[entry]{}, nil
	d.bytes.safe, d.bytes.open = 0, 0
	d.writing, d.gone, d.flying, d.condemned, d.trouble = 0, 0, 0, 0, nil
	d.writer, d.reader = writer{}, reader{}
	d.unread.cause, d.told = nil, nil
}

// Close writes what is not safe yet and gives the folder back; Peek and Ack are not called any more.
// An error says how many results were only in memory and are lost.
func (d *Disk) Close() error {
	d.mu.Lock()
	if !d.running || d.closing {
		d.mu.Unlock()
		return nil
	}
	d.closing = true
	signal(d.wake)
	d.mu.Unlock()
	<-d.ended

	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = false
	d.notify()
	err := d.reader.close()
	if d.leave != nil {
		err = errors.Join(err, d.leave())
	}
	d.files, d.leave = nil, nil
	if n := d.open.length; n > 0 {
		err = errors.Join(fmt.Errorf("%d results could not be written: %w", n, d.trouble), err)
	}
	if err != nil {
		return fmt.Errorf("close spool %q: %w", d.Folder, err)
	}
	return nil
}

// Put appends a message; it is safe once Sync, called behind it, returned nil. It waits neither for the
// upstream nor for the disk. The error is that of sinks.AppendResult.
func (d *Disk) Put(m pipeline.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running || d.closing {
		return errNotOpen
	}
	json, kind, err := encode(d.buffer[:0], m)
	if err != nil {
		return err
	}
	d.buffer = json[:0]
	now := d.timer.now()
	d.expire(now)
	if !d.makeRoom(int64(len(json)) + lineFurther) {
		d.lose(LossFull, 1)
		return nil
	}
	d.tickets++
	e := entry{message: m, kind: kind, json: append(d.piece(), json...), time: now, came: time.Now(), ticket: d.tickets}
	before := d.bytes.open
	d.open.push(e)
	d.bytes.open += e.size()
	if d.open.length == 1 || before < commitBytes && d.bytes.open >= commitBytes {
		signal(d.wake)
	}
	return nil
}

// Sync waits until everything that was put before is safe, acknowledged or let go. While the disk does
// not take results it returns why: they are in memory then.
func (d *Disk) Sync(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for last := d.tickets; d.open.length > 0 && d.open.at(0).ticket <= last; {
		switch {
		case !d.running:
			return errNotOpen
		case d.trouble != nil:
			return fmt.Errorf("results are only in memory: %w", d.trouble)
		case d.changed == nil:
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		d.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Limit changes the limits.
func (d *Disk) Limit(c sinks.Spool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Config = c
	d.room = min(d.Memory, int64(c.MaxBytes))
}

// Size says how much waits: results, and the bytes of disk and memory they take. Results that are
// handed out count until Ack.
func (d *Disk) Size() (results int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.journal.live(0, d.journal.end) + d.open.length + d.condemned, d.journal.waiting() + d.bytes.open
}
