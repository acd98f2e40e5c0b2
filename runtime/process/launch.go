package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launch is the start of a helper in two steps, between which the state is written: fork makes the
// process, which waits; release lets it become the stage.
type launch struct {
	command []string
	way     way
	order   *order
	log     *os.File // what becomes its standard output and error; nil: none
	lock    *os.File // nil: none

	orders, answers *os.File // the supervisor's ends
}

// fork starts the helper.
func (l *launch) fork() (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	orders, toHelper, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer orders.Close()
	fromHelper, answers, err := os.Pipe()
	if err != nil {
		toHelper.Close()
		return nil, err
	}
	defer answers.Close()
	l.orders, l.answers = toHelper, fromHelper
	log, lock := l.log, l.lock
	if log == nil {
		log = null
	}
	if lock == nil {
		lock = null
	}
	argv := append(append([]string{}, l.command...), HelperArgument)
	child, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{null, log, log, orders, answers, lock}, Sys: l.way.attributes(),
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("start helper: %w", err)
	}
	return child, nil
}

func (l *launch) close() {
	l.orders.Close()
	l.answers.Close()
}

// attributes are those of the helper's process. There is no parent-death signal on purpose: boxes
// outlive the supervisor.
func (w way) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if w.namespaces {
		attr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	}
	if w.user {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}
	}
	return attr
}

// release sends the order and waits until the program runs, or returns why it does not.
func (l *launch) release(ctx context.Context) error {
	defer l.close()
	stop := context.AfterFunc(ctx, func() {
		_ = l.answers.SetReadDeadline(time.Unix(1, 0)) // pipes take deadlines
		_ = l.orders.SetWriteDeadline(time.Unix(1, 0))
	})
	defer stop()
	data, err := json.Marshal(l.order)
	if err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	_, writeErr := l.orders.Write(data)
	l.orders.Close()
	answer, err := io.ReadAll(io.LimitReader(l.answers, 4096))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(answer) > 0:
		return errors.New(string(answer))
	case writeErr != nil:
		return fmt.Errorf("give order to helper: %w", writeErr)
	}
	return err
}
