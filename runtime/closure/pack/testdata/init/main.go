// Command init is the first program of a test's guest: it runs the stage from the initramfs, then,
// as its root, from the disk, and powers off.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	defer func() {
		_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	}()
	run("initramfs", "/")
	modules, _ := filepath.Glob("/modules/*.ko")
	for _, name := range modules { // sorted
		if err := load(name); err != nil {
			fmt.Printf("load %s: %v\n", name, err)
		}
	}
	if err := syscall.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		fmt.Println("mount /dev:", err)
	}
	if err := syscall.Mount("/dev/vda", "/tmp", "ext4", syscall.MS_RDONLY, ""); err != nil {
		fmt.Println("mount the disk:", err)
	}
	run("disk", "/tmp")
}

func run(name, root string) {
	cmd := exec.Command("/stage")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	fmt.Printf("%s: %s (%v)\n", name, out, err)
}

func load(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.FinitModule(int(file.Fd()), "", 0)
}
