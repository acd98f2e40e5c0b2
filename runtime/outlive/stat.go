package outlive

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ is 100 on every platform of Linux.
const clockTick = time.Second / 100

// Stat is what matters of /proc/<pid>/stat (proc_pid_stat(5)).
type Stat struct {
	PID     int
	State   byte               // Z and X: dead
	Session int                // field 6
	CPU     time.Duration      // fields 14 and 15
	Started uint64             // field 22, in clock ticks since boot
	RSS     int64              // field 24, in bytes
	Exit    syscall.WaitStatus // field 52, of the dead, 0 where the kernel keeps it to itself
}

// ReadStat returns the stat of a process; an error that is os.ErrNotExist or ESRCH when there is none.
func ReadStat(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return parseStat(data)
}

// parseStat decodes a line of stat. The name in it may have any bytes, so it is cut at its last ")".
func parseStat(data []byte) (Stat, error) {
	front, rest, ok := cutLast(data, ')')
	pid, _, _ := strings.Cut(string(front), " ")
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 50 || fields[0] == "" {
		return Stat{}, fmt.Errorf("process status %.80q is not of the form of proc_pid_stat(5)", data)
	}
	s := Stat{State: fields[0][0]}
	var err error
	number := func(text string) int64 {
		n, e := strconv.ParseInt(text, 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("process status: %w", e)
		}
		return n
	}
	s.PID = int(number(pid))
	s.Session = int(number(fields[6-3]))
	s.CPU = time.Duration(number(fields[14-3])+number(fields[15-3])) * clockTick
	s.Started = uint64(number(fields[22-3]))
	s.RSS = number(fields[24-3]) * int64(os.Getpagesize())
	s.Exit = syscall.WaitStatus(number(fields[52-3]))
	return s, err
}

func cutLast(data []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(data, sep)
	if i < 0 {
		return data, nil, false
	}
	return data[:i], data[i+1:], true
}

// Dead says that the process has ended and waits for its parent.
func (s Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' }

// Is says that a process is alive and the one that was started then.
func Is(pid int, started uint64) bool {
	s, err := ReadStat(pid)
	return err == nil && s.Started == started && !s.Dead()
}

// SessionMembers returns the living processes of a session.
func SessionMembers(session int) []Stat {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var members []Stat
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		if s, err := ReadStat(pid); err == nil && s.Session == session && !s.Dead() {
			members = append(members, s)
		}
	}
	return members
}
