package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// How often boxes are connected directly: hardly ever, unless they break the connection on purpose.
const (
	directRate  = 4
	directBurst = 8
)

// Direct is a frames link between two boxes under one kernel: whenever both of them are without a
// connection to the other it makes one, and passes each its end, so that frames take no way through
// the supervisor, and flow on when that is killed. Until then, and where a box's wire is no unix
// socket, they go through the supervisor.
//
// It is put into the Ends of both boxes, beside the ends of the same link that go through the
// supervisor. The zero value is ready; it outlives wires and boxes.
type Direct struct {
	mu    sync.Mutex
	boxes [2]*Box   // the producer's and the consumer's that wait for a connection
	links [2]string // what each calls it
}

const (
	producing = 0
	consuming = 1
)

// handed is an end of a connection for a box.
type handed struct {
	link string
	file *os.File
}

// want notes that a box is without a connection, and makes one when the other is so too.
func (d *Direct) want(side int, b *Box, link string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.boxes[side], d.links[side] = b, link
	if d.boxes[producing] == nil || d.boxes[consuming] == nil {
		return nil
	}
	one, other, err := socketpair()
	if err != nil {
		return err
	}
	for i, file := range []*os.File{one, other} {
		select {
		case d.boxes[i].handing <- handed{d.links[i], file}:
		default: // it asks for more than it has links
			file.Close()
		}
		d.boxes[i] = nil
	}
	return nil
}

// leave forgets a box, which is handed nothing any more.
func (d *Direct) leave(b *Box) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.boxes {
		if d.boxes[i] == b {
			d.boxes[i] = nil
		}
	}
}

type linkBody struct {
	Link string `json:"link"`
}

func decodeLink(body []byte) (string, error) {
	var l linkBody
	if err := decodeJSON(body, &l); err != nil {
		return "", fmt.Errorf("link: %w", err)
	}
	return l.Link, checkText("link", l.Link, maxName)
}

// asked takes a stage's word that it is without a direct connection for a link.
func (b *Box) asked(link string) error {
	_, produces := b.o.Ends.FramesIn[link]
	_, consumes := b.o.Ends.FramesOut[link]
	if !produces && !consumes {
		return fmt.Errorf("frames link %q: %w", link, ErrUnexpected)
	}
	d := b.o.Ends.Direct[link]
	if d == nil || b.giver == nil {
		return nil
	}
	select {
	case b.wanting <- wanted{d, link, produces}:
	default: // it asks for more than it has links
	}
	return nil
}

// wanted is a link that a stage asked for.
type wanted struct {
	direct   *Direct
	link     string
	produces bool
}

// connect serves the direct links of the box until its wire ends.
func (b *Box) connect(ctx context.Context) {
	slow := pace{rate: directRate, burst: directBurst}
	for {
		select {
		case w := <-b.wanting:
			if slow.wait(ctx) != nil {
				return
			}
			side := consuming
			if w.produces {
				side = producing
			}
			if err := w.direct.want(side, b, w.link); err != nil {
				b.o.Log.Warn("no direct link", "stage", b.o.Ticket.Name, "link", w.link, "err", err)
			}
		case h := <-b.handing:
			if err := b.hand(h); err != nil {
				return // the wire is ending
			}
		case <-ctx.Done():
			return
		}
	}
}

// hand passes the stage its end. The file comes before the record is read, as both are of one stream.
func (b *Box) hand(h handed) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := b.giver.pass(h.file); err != nil {
		return err
	}
	b.control.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // never fails
	return writeJSON(b.control, recLink, linkBody{h.link})
}

// part ends what has to do with direct links; their connections stay.
func (b *Box) part() {
	for _, d := range b.o.Ends.Direct {
		if d != nil {
			d.leave(b)
		}
	}
	for {
		select {
		case h := <-b.handing:
			h.file.Close()
		default:
			return
		}
	}
}

var errNoFile = errors.New("no connection came with it")
