package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
)

// series are the metrics of one look: name and labels as they stand in the text.
type series map[string]float64

// scrape reads /metrics.
func scrape(ctx context.Context, client *http.Client, address string) (series, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read metrics: %s", response.Status)
	}
	return readSeries(response.Body)
}

// readSeries reads Prometheus' text format: a series a line, and comments.
func readSeries(r io.Reader) (series, error) {
	all := series{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("read metrics: line %q: %w", line, err)
		}
		all[line[:at]] = value
	}
	return all, lines.Err()
}

// sum adds up the series of a metric that have all labels, given as name="value".
func (s series) sum(m pipeline.Metric, labels ...string) (total float64) {
next:
	for key, value := range s {
		name, rest, _ := strings.Cut(key, "{")
		if name != m.Name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains("{"+rest, "{"+label) && !strings.Contains(rest, ","+label) {
				continue next
			}
		}
		total += value
	}
	return total
}

// of is the label of a stage.
func of(stage string) string { return fmt.Sprintf("stage=%q", stage) }

// usage is what the program uses at one moment, its process boxes included.
type usage struct {
	At         time.Duration `json:"at_ns"` // since the beginning
	Life       int           `json:"life"`  // counts the starts of the program, and of its boxes
	Resident   float64       `json:"resident_bytes"`
	Files      float64       `json:"files"` // open descriptors
	Threads    float64       `json:"threads"`
	Goroutines float64       `json:"goroutines"` // of the supervisor
	Disk       float64       `json:"disk_bytes"` // of the state folder, without what waits
	Spool      float64       `json:"spool_bytes"`
}

// processes are the supervisor and the boxes that it has noted.
func (p *program) processes() []int {
	pid, _ := p.running()
	all := []int{pid}
	notes, _ := filepath.Glob(filepath.Join(p.state(), "boxes", "*", "process.json"))
	for _, name := range notes {
		if pid := noted(name); pid != 0 {
			all = append(all, pid)
		}
	}
	return all
}

// boxOf is the process of a stage in a process box, 0 while there is none.
func (p *program) boxOf(stage string) int {
	notes, _ := filepath.Glob(filepath.Join(p.state(), "boxes", stage+"-*", "process.json"))
	for _, name := range notes {
		if pid := noted(name); pid != 0 {
			return pid
		}
	}
	return 0
}

func noted(file string) int {
	var note struct{ PID int }
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &note) != nil {
		return 0 // gone meanwhile
	}
	return note.PID
}

// use measures processes. It is false when one of them has just ended.
func (u *usage) use(pids []int) bool {
	for _, pid := range pids {
		folder := fmt.Sprintf("/proc/%d/", pid)
		files, err := os.ReadDir(folder + "fd")
		text, err2 := os.ReadFile(folder + "status")
		if err != nil || err2 != nil {
			return false
		}
		u.Files += float64(len(files))
		u.Resident += 1024 * field(string(text), "VmRSS:")
		u.Threads += field(string(text), "Threads:")
	}
	return true
}

// field is a number in /proc/PID/status.
func field(text, name string) float64 {
	_, rest, ok := strings.Cut(text, "\n"+name)
	words := strings.Fields(rest)
	if !ok || len(words) == 0 {
		return 0
	}
	value, _ := strconv.ParseFloat(words[0], 64)
	return value
}

// bytesBelow adds up the sizes of files; what is removed meanwhile does not count.
func bytesBelow(folder, except string) (total, excepted float64) {
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return nil
		}
		if size := sizeOf(entry); strings.HasPrefix(path, except) {
			excepted += size
		} else {
			total += size
		}
		return nil // what is gone meanwhile has no size
	})
	return total, excepted
}

func sizeOf(entry fs.DirEntry) float64 {
	if entry == nil || entry.IsDir() {
		return 0
	}
	info, err := entry.Info()
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
