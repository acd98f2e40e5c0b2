package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// giveUpPrivileges becomes another user and drops all capabilities, of this thread.
func (o *order) giveUpPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	for c := range uintptr(64) {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL {
			break // after the last one
		}
		if err != nil && err != unix.EPERM { // EPERM: there is nothing it could be gained through
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := o.becomeUser(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && err != unix.EINVAL {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// becomeUser changes the user of this thread alone, which is the one that executes.
func (o *order) becomeUser() error {
	if o.UID == 0 {
		return nil
	}
	extra := make([]uint32, 0, len(o.Extra))
	for _, gid := range o.Extra {
		extra = append(extra, uint32(gid))
	}
	id := uintptr(o.UID)
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(extra)), uintptr(unsafe.Pointer(unsafe.SliceData(extra))), 0); e != 0 {
		return fmt.Errorf("set groups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
		return fmt.Errorf("become group %d: %w", o.UID, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
		return fmt.Errorf("become user %d: %w", o.UID, e)
	}
	return nil
}

// What Landlock knows of, by version (landlock(7)).
const (
	readFiles  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	runFiles   = readFiles | unix.LANDLOCK_ACCESS_FS_EXECUTE
	useDevices = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// landlockVersion returns what the kernel has; 0 for nothing.
func landlockVersion() int {
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(v)
}

// ruleset returns all that a version can forbid of what a box has no need for.
func ruleset(version int) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1}
	if version >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr
}

// rulesetSize is the length of the part of the structure that every kernel we ask knows: the file
// part (version 1), the network part (4), the scopes (6).
func rulesetSize(version int) uintptr {
	switch {
	case version >= 6:
		return 24
	case version >= 4:
		return 16
	}
	return 8
}

func (o *order) landlock() error {
	if o.Landlock == 0 {
		return nil
	}
	attr := ruleset(o.Landlock)
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), rulesetSize(o.Landlock), 0)
	if e != 0 {
		return fmt.Errorf("create ruleset: %w", e)
	}
	defer unix.Close(int(fd))
	for _, r := range o.rules() {
		if err := allow(int(fd), r.path, r.access&attr.Handled_access_fs); err != nil {
			return fmt.Errorf("allow %q: %w", r.path, err)
		}
	}
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return fmt.Errorf("restrict: %w", e)
	}
	return nil
}

type rule struct {
	path   string
	access uint64
}

// rules are what the box may do with which files; connecting to the wire's socket needs no right.
func (o *order) rules() []rule {
	var rules []rule
	for _, device := range plainDevices() {
		rules = append(rules, rule{device, useDevices})
	}
	for _, device := range o.Devices {
		rules = append(rules, rule{device, useDevices | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV})
	}
	rules = append(rules, rule{"/sys", readFiles})
	if o.Root == "" {
		return append(rules, rule{".", runFiles}, rule{"/proc/cpuinfo", readFiles}, rule{"/proc/meminfo", readFiles})
	}
	rules = append(rules, rule{"/proc", readFiles})
	entries, err := os.ReadDir("/")
	if err != nil {
		return nil // then nothing is allowed
	}
	for _, entry := range entries {
		at := filepath.Join("/", entry.Name())
		if at != WireFolder && at != "/dev" && at != "/proc" && at != "/sys" {
			rules = append(rules, rule{at, runFiles})
		}
	}
	return rules
}

// allow adds a rule for what is there.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &^= unix.LANDLOCK_ACCESS_FS_READ_DIR
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
