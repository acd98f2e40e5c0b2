package qemu

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sightline/runtime/landlock"
)

// launch is the start of a QEMU process.
type launch struct {
	emulator  *Emulator
	arguments *arguments
	uid       int      // user and group; 0: the supervisor's
	folder    *os.File // that it runs in; nil: none of its own
	log       *os.File // its standard output and error
	lock      *os.File // stays open as lockFD; nil: none
}

// fork starts QEMU. Its thread is confined before, and not used again.
func (l *launch) fork() (*os.Process, error) {
	type forked struct {
		child *os.Process
		err   error
	}
	done := make(chan forked)
	go func() {
		runtime.LockOSThread() // and never unlocks, so that the thread ends
		child, err := l.forkFrom()
		done <- forked{child, err}
	}()
	f := <-done
	return f.child, f.err
}

func (l *launch) forkFrom() (*os.Process, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("set no_new_privs: %w", err)
	}
	if l.emulator.Landlock > 0 {
		if err := landlock.Restrict(l.emulator.Landlock, l.rules()); err != nil {
			return nil, fmt.Errorf("confine QEMU's files by Landlock: %w", err)
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	lock := l.lock
	if lock == nil {
		lock = null
	}
	attr := &os.ProcAttr{
		Dir: "/", Env: []string{"TMPDIR=" + overlayRoom}, Files: append([]*os.File{null, l.log, l.log, lock}, l.arguments.files...),
		Sys: &syscall.SysProcAttr{Setsid: true},
	}
	if l.folder != nil { // by its descriptor, so that a user of its own needn't be able to come there
		attr.Dir = "/proc/self/fd/" + strconv.Itoa(int(l.folder.Fd()))
	}
	if l.uid != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid), Groups: ids(l.emulator.groups())}
	}
	child, err := os.StartProcess(l.emulator.Program, append([]string{l.emulator.Program}, l.arguments.words...), attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", l.emulator.Program, err)
	}
	offer(child.Pid)
	return child, nil
}

// rules are the files that QEMU may use: where programs, their libraries and its firmware are, its
// own folder, and what was handed to it by path.
func (l *launch) rules() []landlock.Rule {
	var rules []landlock.Rule
	add := func(access uint64, paths ...string) {
		for _, path := range paths {
			rules = append(rules, landlock.Rule{Path: path, Access: access})
		}
	}
	add(landlock.RunFiles, "/usr", "/lib", "/lib64", l.emulator.Program)
	add(landlock.ReadFiles, "/etc/ld.so.cache", "/etc/qemu", "/sys/devices/system", "/sys/kernel/mm")
	add(landlock.UseDevices, "/dev/null", "/dev/urandom", "/dev/random")
	if l.emulator.KVM {
		add(landlock.UseDevices|landlock.ControlDevices, kvmDevice)
	}
	handed := "/proc/self/fd/"
	if l.folder != nil {
		at := handed + strconv.Itoa(int(l.folder.Fd()))
		add(landlock.UseDevices, at)
		add(landlock.MakeFiles, at+"/"+overlayRoom)
	}
	for _, f := range l.arguments.loaded {
		add(landlock.ReadFiles, handed+strconv.Itoa(int(f.Fd())))
	}
	return rules
}

func ids(groups []int) []uint32 {
	var all []uint32
	for _, g := range groups {
		all = append(all, uint32(g))
	}
	return all
}

// offered is the oom_score_adj of guests: when the whole machine is short of memory the kernel is to
// take a guest, which comes back, before the supervisor.
const offered = 300

func offer(pid int) {
	file := "/proc/" + strconv.Itoa(pid) + "/oom_score_adj"
	_ = os.WriteFile(file, []byte(strconv.Itoa(offered)), 0) // it may be higher already, or the process gone
}

// Sealed returns a file in memory with data that nobody changes any more, for a Source.
func Sealed(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %d bytes into memory: %w", len(data), err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal a file in memory: %w", err)
	}
	return f, nil
}
