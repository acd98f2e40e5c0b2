package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`

func TestMessagesOfQEMUAreToldApart(t *testing.T) {
	for line, good := range map[string]bool{
		greeting:                  true,
		`{"return": {}, "id": 3}`: true,
		`{"return": [], "id": 3}`: true,
		`{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}`:            true,
		`{"error": {"class": "GenericError", "desc": "no"}, "id": 3}`:                  true,
		`{"timestamp": {}, "event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}`: true,
		``:                                  false,
		`{}`:                                false,
		`[]`:                                false,
		`null`:                              false,
		`{"return": {}, "event": "STOP"}`:   false,
		`{"return": {}, "id": "text"}`:      false,
		`{"return": {}, "id": 1e99}`:        false,
		`{"QMP": null}`:                     false,
		strings.Repeat(`{"return":`, 1<<14): false,
	} {
		if m, err := parseMessage([]byte(line)); (err == nil) != good {
			t.Errorf("%.80s is read as %+v, %v", line, m, err)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(greeting))
	f.Add([]byte(`{"return": {}, "id": 3}`))
	f.Add([]byte(`{"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}`))
	f.Fuzz(func(t *testing.T, line []byte) { _, _ = parseMessage(line) })
}

// machine plays QEMU's side of a monitor: it says some lines, then answers each command by a function.
func machine(t *testing.T, says string, answer func(command string, id int64) string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	go func() {
		if _, err := fmt.Fprint(theirs, says); err != nil || answer == nil {
			theirs.Close()
			return
		}
		for lines := bufio.NewScanner(theirs); lines.Scan(); {
			var got struct {
				Execute string
				ID      int64
			}
			if json.Unmarshal(lines.Bytes(), &got) != nil {
				return
			}
			if _, err := fmt.Fprint(theirs, answer(got.Execute, got.ID)); err != nil {
				return
			}
		}
	}()
	return ours
}

func returns(_ string, id int64) string { return fmt.Sprintf(`{"return": {}, "id": %d}`+"\n", id) }

func TestCommandsGetTheirOwnAnswersBetweenEvents(t *testing.T) {
	conn := machine(t, greeting+"\n", func(command string, id int64) string {
		switch command {
		case "stop":
			return fmt.Sprintf(`{"event": "STOP"}`+"\n"+`{"return": {}, "id": 999}`+"\n"+`{"return": {"of": %q}, "id": %d}`+"\n", command, id)
		case "none":
			return fmt.Sprintf(`{"error": {"class": "CommandNotFound", "desc": "it is not there"}, "id": %d}`+"\n", id)
		}
		return returns(command, id)
	})
	events := make(chan Event, 8)
	m, err := OpenMonitor(t.Context(), conn, func(e Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got, err := m.Execute(t.Context(), "stop", nil); err != nil || string(got) != `{"of": "stop"}` {
		t.Errorf("%s, %v", got, err)
	}
	if e := <-events; e.Name != "STOP" {
		t.Errorf("event %+v", e)
	}
	if _, err := m.Execute(t.Context(), "none", nil); err == nil || !strings.Contains(err.Error(), "it is not there") {
		t.Error(err)
	}
}

func TestAMonitorThatBreaksRulesEnds(t *testing.T) {
	for name, says := range map[string]string{
		"without greeting":  `{"return": {}}` + "\n",
		"with no JSON":      "hello\n",
		"with a long line":  strings.Repeat(" ", 2*maxMessage) + "\n",
		"that ends at once": "",
		"cut in a greeting": greeting[:20],
	} {
		if m, err := OpenMonitor(t.Context(), machine(t, says, nil), nil); err == nil {
			t.Errorf("a monitor %s is taken", name)
			m.Close()
		}
	}
	m, err := OpenMonitor(t.Context(), machine(t, greeting+"\n", func(command string, id int64) string {
		if command == "quit" {
			return strings.Repeat("x", 2*maxMessage)
		}
		return returns(command, id)
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Execute(t.Context(), "quit", nil); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

func TestAMonitorThatSaysNothingIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	silent, other := net.Pipe()
	defer other.Close()
	if _, err := OpenMonitor(ctx, silent, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	m, err := OpenMonitor(t.Context(), machine(t, greeting+"\n", func(command string, id int64) string {
		if command == "stop" {
			return "\n"[:0]
		}
		return returns(command, id)
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.Execute(ctx, "stop", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func FuzzMonitor(f *testing.F) {
	f.Add([]byte(greeting + "\n" + `{"return": {}, "id": 1}` + "\n" + `{"event": "STOP"}` + "\n"))
	f.Add([]byte(`{"QMP": {}}` + "\n\n\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			go func() { _, _ = bufio.NewReader(theirs).WriteTo(discard{}) }()
			_, _ = theirs.Write(said)
		}()
		m, err := OpenMonitor(ctx, ours, func(Event) {})
		if err != nil {
			return
		}
		if _, err := m.Execute(ctx, "stop", nil); err == nil && !strings.Contains(string(said), `"id"`) {
			t.Error("an answer from nowhere")
		}
		_ = m.Close()
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
