package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// maxMessage bounds a message of QEMU's, in bytes.
const maxMessage = 256 << 10

// Event is something that QEMU tells unasked (QEMU QMP Reference Manual, "Events").
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// message is any message of QEMU's (QEMU Machine Protocol Specification).
type message struct {
	Greeting *struct{}       `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *qmpError       `json:"error"`
	ID       *int64          `json:"id"`
	Event
}

type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// parseMessage decodes one line.
func parseMessage(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("decode message %.80q of QEMU: %w", line, err)
	}
	kinds := 0
	for _, is := range []bool{m.Greeting != nil, m.Return != nil, m.Error != nil, m.Name != ""} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return message{}, fmt.Errorf("message %.80q of QEMU is none of greeting, return, error and event", line)
	}
	return m, nil
}

// Monitor is a connection to QEMU's monitor. Its methods may be called from any goroutine.
type Monitor struct {
	conn  net.Conn
	lines *bufio.Reader
	event func(Event)
	ended chan struct{} // closed when nothing more comes

	mu      sync.Mutex
	next    int64
	waiting map[int64]chan message
	err     error // why it ended
}

// OpenMonitor greets QEMU at the other end of conn, which it takes over. The events that come are
// given to event, one after the other; it must not wait for an answer of this monitor.
func OpenMonitor(ctx context.Context, conn net.Conn, event func(Event)) (*Monitor, error) {
	m := &Monitor{
		conn: conn, lines: bufio.NewReaderSize(conn, maxMessage), event: event,
		ended: make(chan struct{}), waiting: map[int64]chan message{},
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	greeting, err := m.read()
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err == nil && greeting.Greeting == nil {
		err = errors.New("it doesn't greet")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("greet monitor of QEMU: %w", err), conn.Close())
	}
	go m.serve()
	if _, err := m.Execute(ctx, "qmp_capabilities", nil); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Monitor) read() (message, error) {
	line, err := m.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return message{}, fmt.Errorf("a message of QEMU is longer than %d bytes", maxMessage)
	}
	if err != nil {
		return message{}, err
	}
	return parseMessage(bytes.TrimSpace(line))
}

// serve hands out what comes until the connection ends.
func (m *Monitor) serve() {
	for {
		got, err := m.read()
		if err != nil {
			m.end(err)
			return
		}
		switch {
		case got.Name != "":
			if m.event != nil {
				m.event(Event{got.Name, append(json.RawMessage(nil), got.Data...)})
			}
		case got.ID != nil:
			m.mu.Lock()
			waiting, ok := m.waiting[*got.ID]
			delete(m.waiting, *got.ID)
			m.mu.Unlock()
			if ok {
				waiting <- got
			}
		}
	}
}

func (m *Monitor) end(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = errors.New("QEMU has closed its monitor")
	}
	m.err = err
	close(m.ended)
	_ = m.conn.Close() // of no use any more
}

// Execute runs a command and returns what QEMU returns.
func (m *Monitor) Execute(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	answer := make(chan message, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.waiting[id] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waiting, id)
		m.mu.Unlock()
	}()
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int64  `json:"id"`
	}{command, arguments, id})
	if err != nil {
		return nil, fmt.Errorf("encode QEMU's command %q: %w", command, err)
	}
	if err := m.write(ctx, append(line, '\n')); err != nil {
		return nil, fmt.Errorf("give QEMU the command %q: %w", command, err)
	}
	select {
	case got := <-answer:
		if got.Error != nil {
			return nil, fmt.Errorf("QEMU refuses %q: %s (%s)", command, got.Error.Desc, got.Error.Class)
		}
		return got.Return, nil
	case <-m.ended:
		return nil, fmt.Errorf("await QEMU's answer to %q: %w", command, m.err)
	case <-ctx.Done():
		return nil, fmt.Errorf("await QEMU's answer to %q: %w", command, ctx.Err())
	}
}

// write writes one line; commands of several goroutines don't mix.
func (m *Monitor) write(ctx context.Context, line []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	deadline, _ := ctx.Deadline() // none is for ever, and QEMU that doesn't read is killed by then
	if err := m.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := m.conn.Write(line)
	return err
}

// Close ends the connection, and QEMU takes another.
func (m *Monitor) Close() error {
	err := m.conn.Close()
	<-m.ended
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
