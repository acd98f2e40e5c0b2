package jsonl_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sinks"
	"sightline/sinks/jsonl"
	"sightline/sinks/sinktest"
)

func TestContract(t *testing.T) {
	schemas := sinktest.Compile(t)
	t.Run("a file", func(t *testing.T) {
		pipelinetest.SinkSuite(t, func(t *testing.T) pipelinetest.Upstream {
			path := filepath.Join(t.TempDir(), "results.jsonl")
			return pipelinetest.Upstream{
				Sink:     &jsonl.Sink{Config: sinks.JSONL{Path: path, MaxBytes: 1 << 30}},
				Received: func() []string { return ids(t, schemas, read(t, path)) },
				Break:    full,
			}
		})
	})
	t.Run("standard output", func(t *testing.T) {
		pipelinetest.SinkSuite(t, func(t *testing.T) pipelinetest.Upstream {
			out := &flaky{}
			return pipelinetest.Upstream{
				Sink:     &jsonl.Sink{Config: sinks.JSONL{Path: jsonl.StandardOutput}, Stdout: out},
				Received: func() []string { return ids(t, schemas, out.String()) },
				Break: func(*testing.T) func() {
					out.broken = true
					return func() { out.broken = false }
				},
			}
		})
	})
}

// flaky is a writer that can stop taking anything.
type flaky struct {
	bytes.Buffer
	broken bool
	takes  int // bytes of the next write that are taken before it fails; 0: all
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.broken {
		return 0, errors.New("broken pipe")
	}
	if n := f.takes; n > 0 && n < len(p) {
		f.takes = 0
		f.Buffer.Write(p[:n])
		return n, errors.New("broken pipe")
	}
	return f.Buffer.Write(p)
}

// full makes files unable to grow beyond a few kilobytes, as a full disk does: the write that
// crosses the limit is cut short. It is the process's limit, so these tests do not run in parallel.
func full(t *testing.T) func() {
	t.Helper()
	return limit(t, 1)
}

func limit(t *testing.T, bytes uint64) func() {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Skipf("limits of this system cannot be read: %v", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
		t.Skipf("limits of this system cannot be set: %v", err)
	}
	mend := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
	t.Cleanup(mend)
	return mend
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

func ids(t *testing.T, schemas sinktest.Schemas, text string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			t.Fatalf("torn line %q", line)
		}
		list = append(list, schemas.Decode(t, []byte(line)).ID)
	}
	return list
}

func open(t *testing.T, c sinks.JSONL) *jsonl.Sink {
	t.Helper()
	s := &jsonl.Sink{Config: c}
	if err := s.Open(t.Context(), pipelinetest.NewEnv(t, nil)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func deliver(t *testing.T, s *jsonl.Sink, from, to int) {
	t.Helper()
	if err := s.Deliver(t.Context(), batch(from, to)); err != nil {
		t.Fatal(err)
	}
}

func batch(from, to int) (messages []pipeline.Message) {
	for i := from; i <= to; i++ {
		messages = append(messages, pipeline.Message{Result: pipelinetest.NewResult(i)})
	}
	return messages
}

func names(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, pipelinetest.NewResult(i).ID)
	}
	return list
}

func TestFileIsRotated(t *testing.T) {
	schemas := sinktest.Compile(t)
	for _, keep := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("keeping %d", keep), func(t *testing.T) {
			const limit = 4096
			path := filepath.Join(t.TempDir(), "results.jsonl")
			s := open(t, sinks.JSONL{Path: path, MaxBytes: limit, Keep: keep})
			for i := range 10 {
				deliver(t, s, 10*i+1, 10*i+10)
			}
			var all []string
			for i := keep; i >= 0; i-- {
				file := path
				if i > 0 {
					file = fmt.Sprintf("%s.%d", path, i)
				}
				text := read(t, file)
				if len(text) == 0 || len(text) > limit {
					t.Errorf("%s has %d bytes", filepath.Base(file), len(text))
				}
				all = append(all, ids(t, schemas, text)...)
			}
			if want := names(101-len(all), 100); !slices.Equal(all, want) {
				t.Errorf("files hold %v, want %v", all, want)
			}
			if left, _ := filepath.Glob(path + "*"); len(left) != keep+1 {
				t.Errorf("%d files, want %d: %v", len(left), keep+1, left)
			}
		})
	}
}

func TestLineLargerThanAFileStandsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	s := open(t, sinks.JSONL{Path: path, MaxBytes: 10, Keep: 2})
	deliver(t, s, 1, 3)
	for i, file := range []string{path + ".2", path + ".1", path} {
		if got := ids(t, sinktest.Compile(t), read(t, file)); !slices.Equal(got, names(i+1, i+1)) {
			t.Errorf("%s holds %v", file, got)
		}
	}
}

func TestFileIsContinued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	for i := range 3 {
		s := open(t, sinks.JSONL{Path: path})
		deliver(t, s, i+1, i+1)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, sinktest.Compile(t), read(t, path)); !slices.Equal(got, names(1, 3)) {
		t.Errorf("file holds %v", got)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode&^0o640 != 0 || mode&0o600 != 0o600 {
		t.Errorf("permissions %o, want 640", mode)
	}
}

func TestTornLastLineIsTakenAway(t *testing.T) {
	whole, err := sinks.AppendResult(nil, pipelinetest.NewResult(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 2, 100, len(whole)} {
		path := filepath.Join(t.TempDir(), "results.jsonl")
		text := string(whole) + "\n" + string(whole[:cut])
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		deliver(t, open(t, sinks.JSONL{Path: path}), 2, 2)
		if got := ids(t, sinktest.Compile(t), read(t, path)); !slices.Equal(got, names(1, 2)) {
			t.Errorf("cut at %d: file holds %v", cut, got)
		}
	}
}

func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"a text":         "my diary, without an end of line",
		"large and JSON": "{" + strings.Repeat("x", 2*sinks.MaxMessage),
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		s := &jsonl.Sink{Config: sinks.JSONL{Path: path}}
		err := s.Open(t.Context(), pipelinetest.NewEnv(t, nil))
		if !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "not a file of results") {
			t.Errorf("%s: error %v", name, err)
		}
		if read(t, path) != text {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestMissingFolderIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "results.jsonl")
	err := (&jsonl.Sink{Config: sinks.JSONL{Path: path}}).Open(t.Context(), pipelinetest.NewEnv(t, nil))
	if err == nil || !strings.Contains(err.Error(), "does not exist") || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Errorf("error %v, want one that names the folder", err)
	}
}

func TestFullDiskLeavesNoTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	s := open(t, sinks.JSONL{Path: path, MaxBytes: 1 << 20})
	deliver(t, s, 1, 3)
	before := read(t, path)
	mend := limit(t, uint64(len(before)+700))
	err := s.Deliver(t.Context(), batch(4, 6))
	held := read(t, path)
	mend()
	if err == nil || pipeline.IsPermanent(err) || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("error %v, want one that may be tried again", err)
	}
	if held != before {
		t.Errorf("after the error the file has %d bytes, want %d", len(held), len(before))
	}
	deliver(t, s, 4, 6)
	if got := ids(t, sinktest.Compile(t), read(t, path)); !slices.Equal(got, names(1, 6)) {
		t.Errorf("file holds %v", got)
	}
}

func TestFullDeviceIsAnError(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skipf("no device that is always full: %v", err)
	}
	s := open(t, sinks.JSONL{Path: "/dev/full"})
	if err := s.Deliver(t.Context(), batch(1, 1)); !errors.Is(err, syscall.ENOSPC) || pipeline.IsPermanent(err) {
		t.Errorf("error %v, want no space", err)
	}
}

func TestTornLineOnStandardOutputIsEnded(t *testing.T) {
	out := &flaky{takes: 100}
	s := &jsonl.Sink{Config: sinks.JSONL{Path: jsonl.StandardOutput}, Stdout: out}
	if err := s.Open(t.Context(), pipelinetest.NewEnv(t, nil)); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(t.Context(), batch(1, 2)); err == nil || pipeline.IsPermanent(err) {
		t.Errorf("error %v, want one that may be tried again", err)
	}
	deliver(t, s, 1, 2)
	_, rest, _ := strings.Cut(out.String(), "\n")
	if got := ids(t, sinktest.Compile(t), rest); !slices.Equal(got, names(1, 2)) {
		t.Errorf("after the torn line stand %v", got)
	}
}

func TestStandardOutputMustBeThere(t *testing.T) {
	s := &jsonl.Sink{Config: sinks.JSONL{Path: jsonl.StandardOutput}}
	if err := s.Open(t.Context(), pipelinetest.NewEnv(t, nil)); !pipeline.IsPermanent(err) {
		t.Errorf("error %v, want a permanent one", err)
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	s := open(t, sinks.JSONL{Path: os.DevNull})
	messages := batch(1, 4)
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Deliver(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// FuzzOpen opens a file of any content: it is refused untouched or holds whole lines from then on.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{"", "\n", "{", "{}\n{", "{}\n", "x", "{}\nx", "{\n\n", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, content, 0o640); err != nil {
			t.Fatal(err)
		}
		s := &jsonl.Sink{Config: sinks.JSONL{Path: path}}
		if err := s.Open(t.Context(), pipelinetest.NewEnv(t, nil)); err != nil {
			if read(t, path) != string(content) {
				t.Fatalf("refused %q but changed it", content)
			}
			return
		}
		deliver(t, s, 1, 1)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept := content[:bytes.LastIndexByte(content, '\n')+1]
		if rest, ok := strings.CutPrefix(read(t, path), string(kept)); !ok || strings.Count(rest, "\n") != 1 {
			t.Fatalf("%q became %q", content, read(t, path))
		}
	})
}

func TestEventsStandBesideResultsAndStatusesDoNot(t *testing.T) {
	schemas := sinktest.Compile(t)
	path := filepath.Join(t.TempDir(), "results.jsonl")
	s := &jsonl.Sink{Config: sinks.JSONL{Path: path}}
	if err := s.Open(t.Context(), pipelinetest.NewEnv(t, nil)); err != nil {
		t.Fatal(err)
	}
	messages := append(sinktest.Results(sinktest.Result("gate", 1, "car")),
		pipeline.Message{Event: sinktest.Event("gate", 1, pipeline.EventNew)}, pipeline.Message{Status: &pipeline.Status{Stage: "gate"}},
		pipeline.Message{Event: sinktest.Event("gate", 2, pipeline.EventEnd)})
	if err := errors.Join(s.Deliver(t.Context(), messages), s.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(read(t, path), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	sinktest.Check(t, schemas.Result, []byte(lines[0]))
	sinktest.Check(t, schemas.Event, []byte(lines[1]))
	sinktest.Check(t, schemas.Event, []byte(lines[2]))
}
