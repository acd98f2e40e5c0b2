package process

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Instructions of classic BPF that the filter uses, and where struct seccomp_data has its parts
// (seccomp(2)). Both platforms are little-endian: the low half of an argument comes first.
const (
	loadWord  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ifEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ifAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	ifBitsSet = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	answer    = unix.BPF_RET | unix.BPF_K

	callAt  = 0
	archAt  = 4
	firstAt = 16 // low half of the first argument

	otherABI = 0x40000000 // x32 on amd64

	// namespaces are the flags of clone(2) that make one.
	namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)

func errnoOf(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// denied are the system calls that no stage has a use for and that reach out of a box, or far into
// the kernel.
func denied() []uint32 {
	return append([]uint32{
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_SYSLOG, unix.SYS_ACCT, unix.SYS_QUOTACTL,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_FANOTIFY_INIT,
		unix.SYS_PERSONALITY, unix.SYS_SETSID, // the session is how leftovers are found
	}, deniedHere()...)
}

// absent are those for which programs have another way when they are told that there is none.
func absent() []uint32 {
	return []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_CLONE3}
}

// filter lets a box make sockets of its own machine only, no namespaces, and none of the denied
// calls. Calls of another ABI are absent.
func filter() []unix.SockFilter {
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	f := []unix.SockFilter{
		{Code: loadWord, K: archAt},
		{Code: ifEqual, K: arch, Jt: 1},
		{Code: answer, K: errnoOf(unix.ENOSYS)},
		{Code: loadWord, K: callAt},
		{Code: ifAtLeast, K: otherABI, Jf: 1},
		{Code: answer, K: errnoOf(unix.ENOSYS)},
	}
	for _, call := range denied() {
		f = append(f, unix.SockFilter{Code: ifEqual, K: call, Jf: 1}, unix.SockFilter{Code: answer, K: errnoOf(unix.EPERM)})
	}
	for _, call := range absent() {
		f = append(f, unix.SockFilter{Code: ifEqual, K: call, Jf: 1}, unix.SockFilter{Code: answer, K: errnoOf(unix.ENOSYS)})
	}
	return append(f,
		unix.SockFilter{Code: ifEqual, K: unix.SYS_SOCKET, Jf: 4},
		unix.SockFilter{Code: loadWord, K: firstAt},
		unix.SockFilter{Code: ifEqual, K: unix.AF_UNIX, Jt: 1},
		unix.SockFilter{Code: answer, K: errnoOf(unix.EACCES)},
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: ifEqual, K: unix.SYS_CLONE, Jf: 3},
		unix.SockFilter{Code: loadWord, K: firstAt},
		unix.SockFilter{Code: ifBitsSet, K: namespaces, Jf: 1},
		unix.SockFilter{Code: answer, K: errnoOf(unix.EPERM)},
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	)
}

// haveSeccomp says that the kernel has filters (CONFIG_SECCOMP_FILTER).
func haveSeccomp() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return e == 0
}

func (o *order) seccomp() error {
	if !o.Seccomp {
		return nil
	}
	f := filter()
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); e != 0 {
		return fmt.Errorf("set filter: %w", e)
	}
	return nil
}
