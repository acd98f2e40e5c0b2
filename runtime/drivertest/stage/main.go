// Command stage is the program that the suite of drivers runs in boxes. Its last argument is where
// its wire is; over that it is asked, line by line, to try things, and answers each line by one.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/line"
)

// stopped is the exit status of a stage that was asked to end.
const stopped = 7

func main() {
	args := os.Args[1:]
	if len(args) == 1 && args[0] == "sleep" {
		for {
			time.Sleep(time.Hour)
		}
	}
	s := &stage{args: args, name: rand.Text()}
	s.awaitStop()
	s.serveAlways(args[len(args)-1])
}

type stage struct {
	args   []string
	name   string // of this run of the program
	asked  int
	gap    int // lines to print when the wire breaks
	held   [][]byte
	ignore atomic.Bool
}

func (s *stage) awaitStop() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		for range signals {
			if !s.ignore.Load() {
				fmt.Println("stopping")
				os.Exit(stopped) //nolint:forbidigo // ends as a program does that was told to
			}
		}
	}()
}

// serveAlways connects to the supervisor, and again whenever the wire breaks: supervisors come and go.
func (s *stage) serveAlways(address string) {
	way, err := line.Open(address)
	if err != nil {
		fmt.Println(err)
		os.Exit(2) //nolint:forbidigo // there is nobody to say it to
	}
	for {
		if conn, err := way.Connect(context.Background()); err == nil {
			s.serve(conn)
			s.printGap()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// printGap prints what was asked for, while there is no wire.
func (s *stage) printGap() {
	for i := range s.gap {
		fmt.Printf("nobody reads this line before the next supervisor: %d\n", i)
	}
	s.gap = 0
}

func (s *stage) serve(conn io.ReadWriteCloser) {
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "hello %s %d %q\n", s.name, s.asked, s.args[:len(s.args)-1]); err != nil {
		return
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		s.asked++
		answer, err := s.do(strings.Fields(lines.Text()))
		if err != nil {
			answer = "error: " + err.Error()
		}
		if _, err := fmt.Fprintf(conn, "%s\n", strings.ReplaceAll(answer, "\n", " ")); err != nil {
			return
		}
	}
}

func (s *stage) do(words []string) (string, error) {
	words = append(words, "", "", "")
	number, _ := strconv.Atoi(words[1])
	switch words[0] {
	case "ping":
		return strconv.Itoa(s.asked), nil
	case "environment":
		return fmt.Sprintf("%q", os.Environ()), nil
	case "print":
		fmt.Println(words[1])
		fmt.Fprintln(os.Stderr, "to standard error:", words[1])
		return "ok", nil
	case "gap":
		s.gap = number
		return "ok", nil
	case "exit":
		os.Exit(number) //nolint:forbidigo // the test asked for it
	case "ignore":
		s.ignore.Store(true)
		return "ok", nil
	case "eat":
		return s.eat(number)
	case "fork":
		return fork(number)
	case "burn":
		return burn(time.Duration(number) * time.Millisecond)
	case "privileges":
		return privileges()
	}
	return outside(words)
}

func (s *stage) eat(bytes int) (string, error) {
	const piece = 1 << 20
	for ; bytes > 0; bytes -= piece {
		block := make([]byte, piece)
		for i := 0; i < len(block); i += 512 {
			block[i] = 1
		}
		s.held = append(s.held, block)
	}
	return "ok", nil
}

func fork(count int) (string, error) {
	for i := range count {
		_, err := os.StartProcess(os.Args[0], []string{os.Args[0], "sleep"}, &os.ProcAttr{})
		if err != nil {
			return strconv.Itoa(i), nil //nolint:nilerr // how many there could be is the answer
		}
	}
	return strconv.Itoa(count), nil
}

// burn uses as much of two processors as it gets, and returns how much that was, in ns.
func burn(wall time.Duration) (string, error) {
	end := time.Now().Add(wall)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	start := time.Now()
	workers.Wait()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return "", err
	}
	return fmt.Sprint(usage.Utime.Nano()+usage.Stime.Nano(), " ", time.Since(start).Nanoseconds()), nil
}

func privileges() (string, error) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return "", err
	}
	locked, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	caps := data[0].Effective | data[1].Effective | data[0].Permitted | data[1].Permitted
	return fmt.Sprintf("uid=%d no_new_privs=%d capabilities=%d", os.Getuid(), locked, caps), err
}
