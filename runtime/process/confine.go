package process

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"sightline/runtime/landlock"
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

func (o *order) landlock() error {
	if o.Landlock == 0 {
		return nil
	}
	return landlock.Restrict(o.Landlock, o.rules())
}

// rules are what the box may do with which files; connecting to the wire's socket needs no right.
func (o *order) rules() []landlock.Rule {
	var rules []landlock.Rule
	for _, device := range plainDevices() {
		rules = append(rules, landlock.Rule{Path: device, Access: landlock.UseDevices})
	}
	for _, device := range o.Devices {
		rules = append(rules, landlock.Rule{Path: device, Access: landlock.UseDevices | landlock.ControlDevices})
	}
	rules = append(rules, landlock.Rule{Path: "/sys", Access: landlock.ReadFiles})
	if o.Root == "" {
		return append(rules, landlock.Rule{Path: ".", Access: landlock.RunFiles}, landlock.Rule{Path: "/proc/cpuinfo", Access: landlock.ReadFiles}, landlock.Rule{Path: "/proc/meminfo", Access: landlock.ReadFiles})
	}
	rules = append(rules, landlock.Rule{Path: "/proc", Access: landlock.ReadFiles})
	entries, err := os.ReadDir("/")
	if err != nil {
		return nil // then nothing is allowed
	}
	for _, entry := range entries {
		at := filepath.Join("/", entry.Name())
		if at != WireFolder && at != "/dev" && at != "/proc" && at != "/sys" {
			rules = append(rules, landlock.Rule{Path: at, Access: landlock.RunFiles})
		}
	}
	return rules
}
