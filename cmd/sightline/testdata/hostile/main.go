// Command hostile is a stage that tries each way out of its box that its maker could think of, and logs
// how each went: "through" for one that led somewhere.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sightline/cmd/program"
	"sightline/pipeline"
	"sightline/pipeline/wire"
)

// kind and targets are set by the linker: which stage it plays, and what it has heard of the world.
var kind, targets string

// heard is what targets has.
type heard struct {
	Wire   []string // "network address", to be asked of the supervisor
	Own    []string // the same, to be tried without it
	Reads  []string // files of the host
	Writes []string
	Lies   []pipeline.Result // for those who have a results link
}

func main() {
	os.Exit(program.Program{Kind: wire.Kind(kind), Version: "hostile", Build: build}.Main(os.Args[1:], os.Stderr))
}

type stage struct {
	heard
	wire *wire.Stage
	env  pipeline.Env
}

func build(st *wire.Stage, _ wire.Configuration, env pipeline.Env) (pipeline.Stage, error) {
	s := &stage{wire: st, env: env}
	return s, json.Unmarshal([]byte(targets), &s.heard)
}

// Run implements pipeline.Stage.
func (s *stage) Run(ctx context.Context, stop <-chan struct{}) error {
	s.env.Report(pipeline.Status{Stage: s.env.Stage, State: pipeline.StateOnline, Since: time.Now()})
	for _, to := range s.Wire {
		s.dial("by the wire", to, func(ctx context.Context, network, address string) (net.Conn, error) {
			if s.env.Network == nil {
				return nil, fmt.Errorf("no network at all")
			}
			return s.env.Network.Dial(ctx, network, address)
		})
	}
	for _, to := range s.Own {
		s.dial("alone", to, new(net.Dialer).DialContext)
	}
	if s.env.Network != nil {
		_, err := s.env.Network.ListenPacket(ctx, "udp", ":0")
		s.tell("datagrams by the wire", err)
	}
	s.files()
	s.sockets()
	s.lie(ctx)
	s.env.Log.Warn("all was tried")
	select {
	case <-stop:
	case <-ctx.Done():
	}
	return nil
}

func (s *stage) tell(way string, err error) {
	outcome := "through"
	if err != nil {
		outcome = err.Error()
	}
	s.env.Log.Warn("tried", "way", way, "outcome", outcome)
}

// dial connects and says something; over UDP that it was said says nothing of whether it arrived, which
// the test looks at.
func (s *stage) dial(how, to string, dial func(context.Context, string, string) (net.Conn, error)) {
	network, address, _ := strings.Cut(to, " ")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	conn, err := dial(ctx, network, address)
	if err == nil {
		_, err = io.WriteString(conn, "a picture")
		conn.Close()
		if network == "udp" && err == nil {
			err = fmt.Errorf("said to nobody, perhaps")
		}
	}
	s.tell(how+": "+to, err)
}

func (s *stage) files() {
	for _, name := range s.Reads {
		_, err := os.ReadFile(name)
		s.tell("read "+name, err)
	}
	for _, name := range s.Writes {
		s.tell("write "+name, os.WriteFile(name, []byte("a picture"), 0o666))
	}
}

// sockets tries other kinds of sockets, and names.
func (s *stage) sockets() {
	for name, how := range map[string][3]int{
		"raw":    {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"packet": {unix.AF_PACKET, unix.SOCK_RAW, 0},
		"vsock":  {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
	} {
		fd, err := unix.Socket(how[0], how[1]|unix.SOCK_CLOEXEC, how[2])
		if err == nil && name == "vsock" {
			err = unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: 22})
		}
		s.tell(name+" socket", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_, err := new(net.Resolver).LookupHost(ctx, "sightline.example.com")
	s.tell("name lookup", err)
}

// lie sends results that are none.
func (s *stage) lie(ctx context.Context) {
	if s.env.Network == nil {
		s.env.Report(pipeline.Status{Stage: s.env.Stage, Source: "a picture", State: pipeline.StateOnline, Reason: "a picture", Since: time.Now()})
	}
	for i := range s.Lies {
		r := &s.Lies[i]
		grow(r)
		for _, out := range s.wire.ResultOutputs() {
			if err := out.Send(ctx, r); err != nil {
				s.tell("result", err)
			}
		}
	}
}

// grow makes a result as large as its numbers say, which would be too large for the linker: the class
// repeated, ClassID times, in predictions of the number that Dropped is.
func grow(r *pipeline.Result) {
	p := &r.Predictions[0]
	p.Class = strings.Repeat(p.Class, p.ClassID+1)
	if r.Dropped > 500 {
		p.Class = strings.Repeat("a", 100)
	}
	for len(r.Predictions) < int(r.Dropped) {
		r.Predictions = append(r.Predictions, *p)
	}
}
