package main

import (
	"path/filepath"
	"sync"
	"time"

	"sightline/configs"
	"sightline/web"
)

// onFile is how the pipeline file on the disk stands to what runs. Its methods may be called from any
// goroutine.
type onFile struct {
	mu      sync.Mutex
	name    string // as the command line has it; empty: no file is followed
	path    string
	text    string // of what runs
	partly  string // which stages do not run as it says; empty: all do
	refused string // why the file was not taken up last; empty: it was
	looked  mark   // of the file when it was compared with text
	same    bool
	shown   web.File
}

// follow says which file it is about.
func (f *onFile) follow(name string) {
	path, err := filepath.Abs(name)
	if err != nil {
		path = name
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.name, f.path = name, path
}

// refuse notes why the file was not taken up.
func (f *onFile) refuse(problem string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = problem
}

// runs notes what text runs, and which stages do not run as it says.
func (f *onFile) runs(text, partly string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text, f.partly, f.looked = text, partly, ""
	if f.compare() {
		f.refused = ""
	}
}

// asBefore notes that the file says again what was taken up last.
func (f *onFile) asBefore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = ""
	if f.compare() {
		f.refused = ""
	}
}

// compare tells whether the file holds what runs. It is read only when it was changed.
func (f *onFile) compare() bool {
	if m := markOf(f.path); m != f.looked {
		data, err := configs.Read(f.path)
		f.looked, f.same = m, err == nil && string(data) == f.text
	}
	return f.same
}

// now says how the file stands; empty when none is followed.
func (f *onFile) now() web.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.name == "" {
		return web.File{}
	}
	problem := f.refused
	switch same := f.compare(); {
	case same && problem == "":
		problem = f.partly
	case problem == "" && f.text == "":
		problem = "what it says is being prepared"
	case problem == "":
		problem = "it does not say what was taken up last"
	}
	if f.shown.Since.IsZero() || f.shown.Problem != problem {
		f.shown = web.File{Name: f.name, Runs: problem == "", Problem: problem, Since: time.Now()}
	}
	return f.shown
}

// notes are what operators should know besides the stages.
func (s *station) notes() []string {
	f := s.file.now()
	if f.Problem == "" {
		return nil
	}
	return []string{f.Name + " on the disk is not what runs, since " + f.Since.Format(time.RFC3339) + ": " + f.Problem}
}
