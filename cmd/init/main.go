// Command init is the first program of a Linux guest: it puts the guest together around the stage's
// closure, which is on the first disk, runs the stage without privileges, says how it ended, and
// ends the guest. It is built static and lies in the guest's initramfs.
//
// Its orders come over a port of virtio-serial; see package order.
package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"sightline/runtime/vm/order"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "sightline-init is the first program of a guest, and does nothing elsewhere")
		os.Exit(2)
	}
	runtime.LockOSThread() // what the stage is confined by is of the thread that starts it
	g := &guest{}
	report, err := g.live()
	if err != nil {
		fmt.Println("sightline-init:", err)
		report = order.Report{Code: -1, Error: err.Error()}
	}
	g.report(report)
	// Every machine can restart, which ends QEMU as it is run here; not every one can turn itself off.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("sightline-init: end the guest:", err)
	}
	for {
		_ = unix.Pause() // the host ends what doesn't end
	}
}
