package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
	"sightline/runtime/durable"
	"sightline/runtime/supervisor/audit"
	"sightline/runtime/supervisor/logs"
)

// ErrDown is that nothing is started any more, since Down was called.
var ErrDown = errors.New("everything is being stopped")

var errClosed = errors.New("the supervisor is closed, or the stage removed")

// Supervisor keeps the boxes of one plan. Its methods may be called from any goroutine.
type Supervisor struct {
	dir     string
	options Options
	log     *slog.Logger
	lock    *os.File
	boxes   boxes
	trail   *audit.Log

	ctx      context.Context // of all keepers; ends at Close
	end      context.CancelFunc
	force    chan struct{} // closed when everything is to end without grace
	forced   sync.Once
	downed   chan struct{} // closed when Down was called
	work     sync.WaitGroup
	applying chan struct{} // holds one token: who has it may change the plan

	mu      sync.Mutex
	keepers map[string]*keeper
	order   []string // of starting
	applied bool
	down    bool
	closed  bool
	drivers map[string]driver.Driver
	logs    map[string]*logs.Log
	unsaid  int // events that could not be written to the audit log
}

// Open takes the lock of the state folder dir, which it makes if need be. One supervisor can have it.
// The path is to be short, as sockets are made below it.
func Open(dir string, o Options) (*Supervisor, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	if len(abs) > longest {
		return nil, fmt.Errorf("open state folder %q: its path has %d bytes; with more than %d the sockets of boxes can't be reached (a unix socket's path has at most %d): choose a shorter one", abs, len(abs), longest, maxAddress)
	}
	for _, sub := range []string{"", stagesDir, boxesDir, logsDir} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open state folder: %w", durable.Space(abs, err))
		}
	}
	s := newSupervisor(abs, o)
	if s.lock, err = takeLock(abs); err != nil {
		return nil, err
	}
	if s.trail, err = audit.Open(filepath.Join(abs, auditDir), o.Trail); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	s.event(Opened, "", map[string]string{"folder": abs})
	return s, nil
}

func newSupervisor(dir string, o Options) *Supervisor {
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{{&o.Settle, 10 * time.Second}, {&o.Silence, 30 * time.Second}, {&o.Hang, time.Minute}} {
		if *d.of <= 0 {
			*d.of = d.value
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Supervisor{
		dir: dir, options: o, log: o.Log, boxes: boxes{filepath.Join(dir, boxesDir)},
		force: make(chan struct{}), downed: make(chan struct{}), applying: make(chan struct{}, 1),
		keepers: map[string]*keeper{}, drivers: map[string]driver.Driver{}, logs: map[string]*logs.Log{},
	}
	for name, d := range o.Drivers {
		s.drivers[name] = d
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// takeLock takes the lock of a state folder, and writes into it whose it is.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for until := time.Now().Add(inheritance); err == unix.EINTR || err == unix.EWOULDBLOCK && orphaned(f) && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == unix.EWOULDBLOCK {
		return nil, errors.Join(fmt.Errorf("open state folder %q: another supervisor has it, process %s (sightline up FILE hands it another file, sightline down stops it, --state names another folder)", dir, owner(f)), f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for people; a full disk is no reason not to run
		return f, nil
	}
	return nil, errors.Join(fmt.Errorf("lock state folder %q: %w", dir, err), f.Close())
}

// inheritance is how long a process that a killed supervisor was just starting may hold its lock: until
// it runs its own program.
const inheritance = 15 * time.Second

// owner returns whose a lock is; empty when that has not been written yet.
func owner(f *os.File) string {
	name := make([]byte, 32)
	n, _ := f.ReadAt(name, 0)
	return string(name[:n])
}

// orphaned tells whether the process that took a lock is no more.
func orphaned(f *os.File) bool {
	pid, err := strconv.Atoi(owner(f))
	return err == nil && pid > 0 && unix.Kill(pid, 0) == unix.ESRCH
}

// Close leaves the boxes running, except those in place, which end, and lets go of the state folder.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	keepers := s.ordered()
	s.mu.Unlock()
	for i := len(keepers) - 1; i >= 0; i-- {
		keepers[i].leaveInPlace()
	}
	s.end()
	s.work.Wait()
	s.event(Closed, "", nil)
	errs := []error{s.trail.Close()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// leaveInPlace stops a stage whose box would end with the process.
func (k *keeper) leaveInPlace() {
	k.mu.Lock()
	cur := k.cur
	k.mu.Unlock()
	if cur == nil || !cur.of.inPlace() {
		return
	}
	k.update(func() { k.down = true })
	_ = k.await(context.Background(), k.still) // only its end is awaited
}

// Left tells whether an earlier supervisor has left boxes, which may still run.
func (s *Supervisor) Left() bool {
	records, bad, err := s.boxes.all()
	return err == nil && len(records)+len(bad) > 0
}

// Accepted returns the last accepted plan; nil when there was none.
func (s *Supervisor) Accepted() (*Accepted, error) {
	var r planRecord
	err := durable.ReadJSON(filepath.Join(s.dir, planFile), maxRecord, &r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && r.Version != recordVersion {
		err = fmt.Errorf("it has version %d, not %d", r.Version, recordVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last accepted plan: %w", err)
	}
	return &Accepted{Name: r.Name, Document: compact(r.Document), At: r.At}, nil
}

func (s *Supervisor) pin(name, digest string) error {
	if s.options.Pin == nil || digest == "" {
		return nil
	}
	if err := s.options.Pin(name, digest); err != nil {
		return fmt.Errorf("keep closure %s: %w", digest, err)
	}
	return nil
}

func (s *Supervisor) unpin(stage string) {
	if s.options.Unpin == nil {
		return
	}
	for _, what := range []string{"/wanted", "/current", "/good"} {
		if err := s.options.Unpin(stage + what); err != nil {
			s.log.Error("let go of a closure", "stage", stage, "err", err)
		}
	}
}

func (s *Supervisor) driverOf(name string) (driver.Driver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.drivers[name]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("there is no driver %q here, and what it left can't be seen without it", name)
}

func (s *Supervisor) filesOf(digest string) driver.Files {
	if digest == "" || s.options.Files == nil {
		return nil
	}
	return s.options.Files(digest)
}

// goodEdition makes the version that held last ready to be run again.
func (s *Supervisor) goodEdition(k *keeper) (*edition, error) {
	g := k.memory.Good
	d, err := s.driverOf(g.Of.Driver)
	if err != nil {
		return nil, err
	}
	e := &edition{version: g.Of, key: g.Of.key(), driver: d, files: s.filesOf(g.Of.Digest), grace: g.Grace, patience: g.Patience, document: g.Document}
	if e.files == nil && e.Digest != "" {
		return nil, errors.New("its closure can't be had")
	}
	if !g.Wired {
		return e, nil
	}
	if s.options.Wire == nil {
		return nil, errors.New("its wire can't be made")
	}
	e.wire, err = s.options.Wire(g.Document, k.name)
	return e, err
}
