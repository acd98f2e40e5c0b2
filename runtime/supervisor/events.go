package supervisor

import (
	"context"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"sightline/runtime/supervisor/logs"
)

// event writes what happened to the audit log and to the log, and tells who wants to know. That
// boxes run goes before that it is written down: what can't be written is counted, and the
// number is written once that works.
func (s *Supervisor) event(name, stage string, fields map[string]string) {
	full := map[string]string{}
	if stage != "" {
		full["stage"] = stage
	}
	attrs := make([]any, 0, 2*len(fields)+2)
	for k, v := range fields {
		if v != "" {
			full[k] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(full)) {
		attrs = append(attrs, k, full[k])
	}
	s.log.Info(name, attrs...)
	if err := s.record(name, full); err != nil {
		s.log.Error("an event is not in the audit log", "event", name, "err", err)
	}
	if s.options.OnEvent != nil {
		s.options.OnEvent(Event{Time: time.Now(), Name: name, Stage: stage, Fields: full})
	}
}

func (s *Supervisor) record(name string, fields map[string]string) error {
	s.mu.Lock()
	unsaid := s.unsaid
	s.mu.Unlock()
	if unsaid > 0 {
		fields["unrecorded_before"] = strconv.Itoa(unsaid)
	}
	err := s.trail.Append(name, clipped(fields))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unsaid++
		return err
	}
	s.unsaid -= unsaid
	return nil
}

// clipped bounds what one record holds: what boxes say of their end is theirs to choose.
func clipped(fields map[string]string) map[string]string {
	const most = 2 << 10
	short := make(map[string]string, len(fields))
	for k, v := range fields {
		if len(v) > most {
			v = v[:most] + "…"
		}
		short[k] = v
	}
	return short
}

// Audit adds a record to the audit log: grants and refusals of them are the caller's to know.
func (s *Supervisor) Audit(event string, fields map[string]string) error {
	full := map[string]string{}
	for k, v := range fields {
		full[k] = v
	}
	return s.record(event, full)
}

// stageLog returns the log of a stage.
func (s *Supervisor) stageLog(stage string) *logs.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[stage]
	if l == nil {
		l = logs.Open(filepath.Join(s.dir, logsDir, stage+".log"), s.options.Logs)
		s.logs[stage] = l
	}
	return l
}

// Log takes lines for the log of a stage, beside what its boxes print.
func (s *Supervisor) Log(stage string) io.Writer {
	if !name.MatchString(stage) {
		return io.Discard
	}
	return s.stageLog(stage).Writer()
}

// Logs hands the last n lines of a stage's log to take, and then, if follow is set, each new one,
// until ctx ends.
func (s *Supervisor) Logs(ctx context.Context, stage string, n int, follow bool, take func(line string) error) error {
	if _, err := s.keeper(stage); err != nil {
		return err
	}
	return s.stageLog(stage).Read(ctx, n, follow, take)
}
