package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"
)

// faultyDisk is a disk in memory that does what disks do to those who trust them: it forgets what was
// not synced, tears writes, fills up, turns read-only and fails.
type faultyDisk struct {
	mu       sync.Mutex
	random   *rand.Rand
	names    map[string]*inode // as programs see it
	lasting  map[string]*inode // as it would be after a power cut
	life     int               // of the process that may use it
	used     bool              // by a process
	left     int               // calls until the process is killed; negative: it is not
	full     int64             // bytes that fit; zero: any
	readOnly bool
	noSync   int           // how many syncs fail
	noRead   bool          // reads fail
	slow     time.Duration // of a sync
	missing  bool          // the folder cannot be made
	written  int64         // bytes
	syncs    int
	most     int64 // bytes of all files at any time
}

type inode struct {
	data   []byte
	synced []byte
}

var (
	errKilled = errors.New("the process is gone")
	_         = folder(&faultyFolder{})
	_         = file(&faultyFile{})
)

func newFaultyDisk(seed uint64) *faultyDisk {
	return &faultyDisk{
		random: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, lasting: map[string]*inode{}, left: -1,
	}
}

// faultyFolder is the disk as one process has it.
type faultyFolder struct {
	disk *faultyDisk
	life int
}

func (f *faultyDisk) enter(string) (folder, func() error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.missing {
		return nil, nil, fmt.Errorf("%w: %w", errCannotCreate, syscall.EROFS)
	}
	if f.used {
		return nil, nil, ErrInUse
	}
	f.used = true
	life := f.life
	return &faultyFolder{f, life}, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.life == life {
			f.used = false
		}
		return nil
	}, nil
}

// call begins a system call and tells whether the process is killed in it.
func (f *faultyDisk) call(life int) (killed bool, err error) {
	if life != f.life {
		return false, errKilled
	}
	if f.left > 0 {
		f.left--
	}
	if f.left == 0 {
		f.kill()
		return true, errKilled
	}
	return false, nil
}

// kill ends the process; what it wrote is there for the next one.
func (f *faultyDisk) kill() { f.life, f.used, f.left = f.life+1, false, -1 }

// cut ends the process and the power. Of what was not synced any part may be there.
func (f *faultyDisk) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kill()
	for name, n := range f.names {
		if f.lasting[name] != n && f.random.IntN(2) == 0 {
			delete(f.names, name) // it was never known to be there
		}
	}
	for name, n := range f.lasting {
		if f.names[name] == nil && f.random.IntN(2) == 0 {
			f.names[name] = n // it was never known to be gone
		}
	}
	for _, n := range f.names {
		f.forget(n)
	}
	f.lasting = maps.Clone(f.names)
}

const sector = 512

func (f *faultyDisk) forget(n *inode) {
	size := len(n.synced)
	if longer := len(n.data) - size; longer > 0 {
		size += f.random.IntN(longer + 1)
	}
	after := make([]byte, size)
	copy(after, n.synced)
	for at := 0; at < size; at += sector {
		if f.random.IntN(3) > 0 && at < len(n.data) {
			copy(after[at:min(at+sector, size)], n.data[at:])
		}
	}
	n.data, n.synced = after, slices.Clone(after)
}

func (f *faultyDisk) size() (n int64) {
	for _, i := range f.names {
		n += int64(len(i.data))
	}
	return n
}

func (f *faultyFolder) names() ([]string, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if _, err := f.disk.call(f.life); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(f.disk.names)), nil
}

func (f *faultyFolder) open(name string, how access) (file, int64, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.call(f.life); err != nil {
		return nil, 0, err
	}
	if how != toRead && d.readOnly {
		return nil, 0, syscall.EROFS
	}
	n := d.names[name]
	switch {
	case n == nil && how != toCreate:
		return nil, 0, fs.ErrNotExist
	case n == nil:
		n = &inode{}
		d.names[name] = n
	case how == toCreate:
		n.data = nil
	}
	return &faultyFile{f, n}, int64(len(n.data)), nil
}

func (f *faultyFolder) remove(name string) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.call(f.life); err != nil {
		return err
	}
	if d.readOnly {
		return syscall.EROFS
	}
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.names, name)
	return nil
}

func (f *faultyFolder) sync() error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.call(f.life); err != nil {
		return err
	}
	d.lasting = maps.Clone(d.names)
	return nil
}

type faultyFile struct {
	folder *faultyFolder
	n      *inode
}

func (f *faultyFile) ReadAt(p []byte, at int64) (int, error) {
	d := f.folder.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case f.folder.life != d.life:
		return 0, errKilled
	case d.noRead:
		return 0, syscall.EIO
	case at >= int64(len(f.n.data)):
		return 0, io.EOF
	}
	n := copy(p, f.n.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	d := f.folder.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	killed, err := d.call(f.folder.life)
	if killed {
		p = p[:d.random.IntN(len(p)+1)]
	} else if err != nil {
		return 0, err
	}
	if d.readOnly {
		return 0, syscall.EROFS
	}
	if grow := at + int64(len(p)) - int64(len(f.n.data)); d.full > 0 && grow > 0 && d.size()+grow > d.full {
		fits := max(0, int64(len(p))-grow+max(0, d.full-d.size()))
		p, err = p[:min(fits, int64(len(p)))], syscall.ENOSPC
	}
	if end := at + int64(len(p)); end > int64(len(f.n.data)) {
		f.n.data = append(f.n.data, make([]byte, end-int64(len(f.n.data)))...)
	}
	d.written += int64(copy(f.n.data[at:], p))
	d.most = max(d.most, d.size())
	return len(p), err
}

func (f *faultyFile) Sync() error {
	d := f.folder.disk
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	time.Sleep(slow)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.call(f.folder.life); err != nil {
		return err
	}
	d.syncs++
	if d.noSync > 0 {
		d.noSync--
		d.forget(f.n) // as Linux does: what it could not write it takes for written
		return syscall.EIO
	}
	f.n.synced = slices.Clone(f.n.data)
	return nil
}

func (f *faultyFile) Close() error { return nil }

func (f *faultyDisk) set(change func(*faultyDisk)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// count reads what was counted.
func (f *faultyDisk) count() (syncs int, written, most int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncs, f.written, f.most
}

// fakeClocks are clocks that a test turns. up goes on by itself.
type fakeClocks struct {
	mu     sync.Mutex
	start  time.Time
	id     uint64
	offset time.Duration // of the wall clock
	kept   bool
}

var _ clocks = (*fakeClocks)(nil)

func newFakeClocks() *fakeClocks { return &fakeClocks{start: time.Now(), id: 1, kept: true} }

func (c *fakeClocks) up() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.start)
}

func (c *fakeClocks) boot() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

func (c *fakeClocks) wall() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset), c.kept
}

// turn moves the wall clock, and says whether it is kept right from then on.
func (c *fakeClocks) turn(by time.Duration, kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.kept = c.offset+by, kept
}

// restart is the machine's.
func (c *fakeClocks) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	c.start = time.Now()
}

func (f *faultyDisk) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := ""
	for _, name := range slices.Sorted(maps.Keys(f.names)) {
		text += fmt.Sprintf("%s: %d bytes\n", name, len(f.names[name].data))
	}
	return text
}
