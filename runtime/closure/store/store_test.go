package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

// stage computes a closure of a real program and some data.
func stage(t testing.TB, data ...string) *closure.Closure {
	t.Helper()
	spec := closure.Spec{Program: "/bin/true"}
	for i, text := range data {
		name := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		spec.Data = append(spec.Data, closure.Input{From: name, To: fmt.Sprintf("/model/%d", i)})
	}
	c, err := closure.Compute(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB) *Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	t.Cleanup(func() { _, _ = remove(dir) })
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Store, c *closure.Closure, pin string) closure.Digest {
	t.Helper()
	d, err := s.Put(c, pin)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func names(t testing.TB, s *Store, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(s.path(folder))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// spoil changes a read-only file's bytes, not its size.
func spoil(t testing.TB, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Chmod(name, 0o644), os.WriteFile(name, data, 0), os.Chmod(name, 0o444)); err != nil {
		t.Fatal(err)
	}
}

func TestContentsAreKeptOnceReadOnlyAndVerify(t *testing.T) {
	s := open(t)
	one := put(t, s, stage(t, "same", "one"), "one")
	before := len(names(t, s, blobs))
	two := put(t, s, stage(t, "same", "same"), "two")
	if got := len(names(t, s, blobs)); got != before {
		t.Errorf("%d contents, then %d", before, got)
	}
	if again := put(t, s, stage(t, "same", "one"), "three"); again != one {
		t.Errorf("%s, then %s", one, again)
	}
	for _, d := range []closure.Digest{one, two} {
		if err := s.Verify(d); err != nil {
			t.Error(err)
		}
	}
	for _, name := range names(t, s, blobs) {
		if info, err := os.Stat(s.path(blobs, name)); err != nil || info.Mode() != 0o444 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestATamperedFileIsToldByName(t *testing.T) {
	s := open(t)
	c := stage(t, "model")
	d := put(t, s, c, "one")
	spoil(t, s.path(blobs, string(closure.Sum([]byte("model")))))
	var tampered *TamperedError
	if err := s.Verify(d); !errors.As(err, &tampered) || tampered.Name != "/model/0" || tampered.Closure != d {
		t.Errorf("got %v", err)
	}
	if _, err := s.Tree(d); !errors.As(err, &tampered) {
		t.Errorf("laid out: %v", err)
	}
	if _, err := s.Pack(d, plain{}); !errors.As(err, &tampered) {
		t.Errorf("packed: %v", err)
	}
	if left := append(names(t, s, trees), names(t, s, packs)...); len(left) > 0 {
		t.Errorf("of what was changed there is %q", left)
	}
	put(t, s, c, "one")
	if err := s.Verify(d); err != nil {
		t.Errorf("put again, it is not mended: %v", err)
	}
	if _, err := s.Tree(d); err != nil {
		t.Errorf("put again, it is not laid out: %v", err)
	}
	if err := os.Remove(s.path(blobs, string(closure.Sum([]byte("model"))))); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(d); !errors.As(err, &tampered) || tampered.Reason != "it is gone" {
		t.Errorf("got %v", err)
	}
	put(t, s, c, "one")
	spoil(t, s.path(manifests, string(d)))
	if err := s.Verify(d); !errors.As(err, &tampered) || tampered.What != "manifest" {
		t.Errorf("got %v", err)
	}
	if _, err := s.Collect(); !errors.As(err, &tampered) {
		t.Errorf("collected what it can't know: %v", err)
	}
}

func TestATamperedTreeIsToldByName(t *testing.T) {
	s := open(t)
	d := put(t, s, stage(t, "model"), "one")
	tree, err := s.Tree(d)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Tree(d); err != nil || again != tree {
		t.Errorf("again: %q, %v", again, err)
	}
	if err := os.Chmod(filepath.Join(tree, "stage"), 0o755); err != nil {
		t.Fatal(err)
	}
	var tampered *TamperedError
	if _, err := s.Tree(d); !errors.As(err, &tampered) || tampered.Name != "/stage" {
		t.Errorf("got %v", err)
	}
	if err := s.DropTree(d); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tree(d); err != nil {
		t.Errorf("made anew: %v", err)
	}
}

func TestWhatWasChangedIsMadeAnewOnceItIsMended(t *testing.T) {
	s := open(t)
	d := put(t, s, stage(t, "model"), "one")
	tree, err := s.Tree(d)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := s.Pack(d, plain{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Mend(d); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{tree, packed.Path} {
		if _, err := os.Lstat(name); err != nil {
			t.Errorf("what was well was taken away: %v", err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(tree, "stage"), 0o755), os.Chmod(packed.Path, 0o644), os.WriteFile(packed.Path, []byte("other"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pack(d, plain{}); err == nil {
		t.Error("a changed packing was given out")
	}
	if err := s.Mend(d); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tree(d); err != nil {
		t.Errorf("the tree, made anew: %v", err)
	}
	if again, err := s.Pack(d, plain{}); err != nil || again != packed {
		t.Errorf("the packing, made anew: %v, %v, not %v", again, err, packed)
	}
}

// plain packs names and contents one after the other.
type plain struct{ fail error }

func (plain) Key() (string, error) { return "plain", nil }

func (p plain) Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error {
	for _, f := range m.Files {
		if f.Link == "" {
			if err := closure.Copy(w, from, f); err != nil {
				return err
			}
		}
	}
	return p.fail
}

func TestPackingsAreMadeOnceAndVerified(t *testing.T) {
	s := open(t)
	d := put(t, s, stage(t), "one")
	failed := errors.New("no more")
	if _, err := s.Pack(d, plain{failed}); !errors.Is(err, failed) || len(names(t, s, packs)) != 0 {
		t.Errorf("got %v, left %q", err, names(t, s, packs))
	}
	packed, err := s.Pack(d, plain{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Pack(d, plain{failed}); err != nil || again != packed {
		t.Errorf("not from before: %+v, %v", again, err)
	}
	spoil(t, packed.Path)
	var tampered *TamperedError
	if _, err := s.Pack(d, plain{}); !errors.As(err, &tampered) || tampered.Name != packed.Path {
		t.Errorf("got %v", err)
	}
	if err := s.DropPacking(d, plain{}); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Pack(d, plain{}); err != nil || again != packed {
		t.Errorf("made anew: %+v, %v", again, err)
	}
}

func TestCollectKeepsWhatIsPinned(t *testing.T) {
	s := open(t)
	old, good := put(t, s, stage(t, "old", "both"), "scene/current"), put(t, s, stage(t, "good", "both"), "scene/last-good")
	now := put(t, s, stage(t, "now"), "scene/current")
	for _, d := range []closure.Digest{old, good} {
		if _, err := s.Tree(d); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pack(d, plain{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.path(temporary, "write-1"), []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path(trees, string(now)+closure.DraftSuffix+"1"), 0o500); err != nil {
		t.Fatal(err)
	}
	freed, err := s.Collect()
	if err != nil {
		t.Fatal(err)
	}
	size := freed.Bytes
	freed.Bytes = 0
	if want := (Freed{Closures: 1, Files: 1, Packings: 1, Trees: 1, Leftovers: 2}); freed != want || size == 0 {
		t.Errorf("freed %+v (%d bytes), want %+v", freed, size, want)
	}
	for _, d := range []closure.Digest{good, now} {
		if err := s.Verify(d); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Manifest(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if err := errors.Join(s.Unpin("scene/current"), s.Unpin("scene/last-good"), s.Unpin("none")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{blobs, manifests, trees, packs, pins, temporary} {
		if left := names(t, s, folder); len(left) != 0 {
			t.Errorf("left in %s: %q", folder, left)
		}
	}
}

func TestNamesOfPinsStayInTheirFolder(t *testing.T) {
	s := open(t)
	d := put(t, s, stage(t), "a/b.c/d-e")
	if all, err := s.Pins(); err != nil || len(all) != 1 || all["a/b.c/d-e"] != d {
		t.Errorf("%v, %v", all, err)
	}
	for _, name := range []string{"", "..", "../x", "a/../b", "/a", "a/", "a@b", ".a", strings.Repeat("a", 300)} {
		if err := s.Pin(name, d); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	if err := s.Pin("other", closure.Sum(nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a closure that isn't there: %v", err)
	}
	if err := s.Verify("../../etc/passwd"); err == nil {
		t.Error("a path is taken for a digest")
	}
}

func TestManyUseOneStoreAtOnce(t *testing.T) {
	s := open(t)
	c := stage(t, "model")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			other, err := Open(s.dir)
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				d, err := other.Put(c, "pin"+strconv.Itoa(i))
				if err != nil {
					t.Error(err)
					return
				}
				_, treeErr := other.Tree(d)
				_, packErr := other.Pack(d, plain{})
				_, freeErr := other.Collect()
				if err := errors.Join(other.Verify(d), treeErr, packErr, freeErr); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestAFullDiskIsToldInWords(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small file system to fill: mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	small := stage(t)
	small.Manifest.Files = slices.DeleteFunc(small.Manifest.Files, func(f closure.File) bool { return f.Path != closure.ProgramPath })
	small.Manifest.Interpreter = ""
	good := put(t, s, small, "good")
	_, err = s.Put(stage(t, strings.Repeat("x", 2<<20)), "big")
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "the disk of") || !strings.Contains(err.Error(), `file "/`) {
		t.Errorf("got %v", err)
	}
	if left := names(t, s, temporary); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	if _, err := s.Collect(); err != nil {
		t.Error(err)
	}
	if err := s.Verify(good); err != nil {
		t.Error(err)
	}
}

// The test's own program is the one that is killed, at every step of writing one after the other.
const (
	killDir  = "SIGHTLINE_TEST_STORE"
	killStep = "SIGHTLINE_TEST_STEP"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		useAndDie(dir)
	}
	os.Exit(m.Run())
}

// useAndDie kills itself at the step it is told, or prints "done".
func useAndDie(dir string) {
	left, err := strconv.Atoi(os.Getenv(killStep))
	if err != nil {
		panic(err)
	}
	s, err := Open(dir)
	if err != nil {
		panic(err)
	}
	s.step = func() {
		if left--; left < 0 {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	spec := closure.Spec{Program: "/bin/true"}
	c, err := closure.Compute(spec)
	if err != nil {
		panic(err)
	}
	d, err := s.Put(c, "new")
	if err != nil {
		panic(err)
	}
	_, treeErr := s.Tree(d)
	_, packErr := s.Pack(d, plain{})
	freeErr := s.Unpin("new")
	_, sweepErr := s.Collect()
	if err := errors.Join(treeErr, packErr, freeErr, sweepErr); err != nil {
		panic(err)
	}
	fmt.Println("done")
	os.Exit(0)
}

func TestAKillAtAnyStepLeavesAStoreThatWorks(t *testing.T) {
	s := open(t)
	old := put(t, s, stage(t, "old"), "old")
	killed := 0
	for ; ; killed++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killDir+"="+s.dir, killStep+"="+strconv.Itoa(killed))
		out, _ := cmd.CombinedOutput()
		if line, _ := bufio.NewReader(strings.NewReader(string(out))).ReadString('\n'); line == "done\n" {
			break
		}
		if cmd.ProcessState.ExitCode() != -1 || killed > 500 {
			t.Fatalf("step %d: it was not killed: %s\n%s", killed, cmd.ProcessState, out)
		}
		checkAfterKill(t, s.dir, old, killed)
	}
	if killed < 20 {
		t.Errorf("only %d steps", killed)
	}
	t.Logf("killed at %d steps", killed)
}

func checkAfterKill(t *testing.T, dir string, old closure.Digest, step int) {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
	if left := names(t, s, temporary); len(left) != 0 {
		t.Errorf("step %d: left %q", step, left)
	}
	if err := s.Verify(old); err != nil {
		t.Errorf("step %d: %v", step, err)
	}
	all, err := s.Pins()
	if err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
	if d, ok := all["new"]; ok {
		_, treeErr := s.Tree(d)
		_, packErr := s.Pack(d, plain{})
		if err := errors.Join(s.Verify(d), treeErr, packErr); err != nil {
			t.Errorf("step %d: pinned, but %v", step, err)
		}
	}
	// What the killed one left is taken up again, and then cleared away for the next step.
	d, err := s.Put(stage(t), "new")
	if err := errors.Join(err, s.Verify(d), s.Unpin("new")); err != nil {
		t.Errorf("step %d: put again: %v", step, err)
	}
	if _, err := s.Collect(); err != nil {
		t.Errorf("step %d: %v", step, err)
	}
	if got := names(t, s, manifests); len(got) != 1 {
		t.Errorf("step %d: left %q", step, got)
	}
}
