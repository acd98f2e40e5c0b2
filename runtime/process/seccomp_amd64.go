package process

import "golang.org/x/sys/unix"

// deniedHere are the denied calls that only this platform has.
func deniedHere() []uint32 { return []uint32{unix.SYS_IOPERM, unix.SYS_IOPL, unix.SYS_MODIFY_LDT} }
