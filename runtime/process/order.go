package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// HelperArgument is the hidden first argument with which the supervisor's program is started to
// become a box.
const HelperArgument = "sightline-process-box"

// Descriptors that the helper is started with; none of them reaches the stage.
const (
	orderFD  = 3 // an order comes here once the state is on disk; its end alone: the supervisor is gone
	answerFD = 4 // takes why the stage could not be started; its end alone: it was
	lockFD   = 5 // holds the lock of the box until the stage runs
)

const maxOrder = 1 << 20 // bytes

// order tells the helper what to become.
type order struct {
	Trial bool // stop before the program: only try

	// Root, if not empty, is an empty folder on which the box's root is put together.
	Root    string
	Folder  string   // the closure
	Wire    string   // folder that becomes WireFolder
	Devices []string // become visible besides the four
	Sys     bool     // all of /sys is visible, not only the processors
	Proc    bool     // /proc is mounted anew, for a box with its own process IDs

	Groups   []string // files through which to join cgroups
	UID      int      // user and group to become; 0: none
	Extra    []int    // further groups of the user, for devices
	PIDs     int      // RLIMIT_NPROC, if > 0
	Landlock int      // version to use, 0: none
	Seccomp  bool

	Program []string // what to execute, as seen from inside
	Cwd     string
}

// Main turns the process into a box if it was started for that, and returns otherwise: false, with
// nothing done. main calls it before all else:
//
//	if code, ok := process.Main(os.Args); ok { os.Exit(code) }
//
// For a box it does not return, unless the stage's program can't be executed.
func Main(args []string) (code int, ok bool) {
	if len(args) < 2 || args[1] != HelperArgument {
		return 0, false
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread() // most of what confines is of the thread, and executing keeps this one
	answer := os.NewFile(answerFD, "answer")
	o, err := readOrder(os.NewFile(orderFD, "order"))
	if err == nil {
		err = keepDescriptors()
	}
	if err == nil {
		err = o.carryOut()
	}
	if err != nil {
		fmt.Fprint(answer, err)
		return 125, true
	}
	return 0, true
}

// keepDescriptors keeps all but the standard ones from the stage, also those that the supervisor was
// itself given by who started it.
func keepDescriptors() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func readOrder(f *os.File) (*order, error) {
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOrder))
	if err != nil {
		return nil, fmt.Errorf("read order: %w", err)
	}
	if len(data) == 0 {
		return nil, errors.New("the supervisor is gone")
	}
	o := new(order)
	if err := json.Unmarshal(data, o); err != nil {
		return nil, fmt.Errorf("decode order: %w", err)
	}
	return o, nil
}

// carryOut confines this thread step by step and executes the program in it.
func (o *order) carryOut() error {
	var doors []*os.File
	steps := []struct {
		what string
		do   func() error
	}{
		{"offer itself to the out-of-memory killer", offerItself},
		{"open cgroups", func() (err error) { doors, err = o.openGroups(); return err }},
		{"put root folder together", o.enterRoot},
		{"limit resources", o.limit},
		{"join cgroups", func() error { return join(doors) }},
		{"give up privileges", o.giveUpPrivileges},
		{"confine files by Landlock", o.landlock},
		{"confine system calls by seccomp", o.seccomp},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	if o.Trial {
		return nil
	}
	return fmt.Errorf("execute %q: %w", o.Program[0], syscall.Exec(o.Program[0], o.Program, nil))
}

// offered is the oom_score_adj of boxes: when the whole machine is short of memory the kernel is to
// take a stage, which comes back, before the supervisor.
const offered = 300

func offerItself() error {
	const file = "/proc/self/oom_score_adj"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if now, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && now >= offered {
		return nil // to lower it takes a privilege
	}
	return os.WriteFile(file, []byte(strconv.Itoa(offered)), 0)
}

// openGroups opens the ways into the cgroups while they can be seen.
func (o *order) openGroups() (doors []*os.File, err error) {
	for _, file := range o.Groups {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		doors = append(doors, f)
	}
	return doors, nil
}

// join comes late, so that a small limit of processes is not used up by this program's threads.
func join(doors []*os.File) error {
	for _, door := range doors {
		if _, err := door.Write([]byte("0")); err != nil {
			return err
		}
		if err := door.Close(); err != nil {
			return err
		}
	}
	return nil
}

// maxOpen is the most open files of a box: many links, each with two ends.
const maxOpen = 4096

func (o *order) limit() error {
	limits := []struct {
		what  int
		value uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, maxOpen}, {unix.RLIMIT_MSGQUEUE, 0}}
	if o.PIDs > 0 {
		limits = append(limits, struct {
			what  int
			value uint64
		}{unix.RLIMIT_NPROC, uint64(o.PIDs)})
	}
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("read limit %d: %w", l.what, err)
		}
		value := min(l.value, now.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("set limit %d to %d: %w", l.what, value, err)
		}
	}
	return nil
}
