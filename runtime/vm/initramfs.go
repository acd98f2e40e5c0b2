package vm

import (
	"bytes"
	"fmt"

	"sightline/runtime/vm/order"
)

// entry is a file or folder of an initramfs.
type entry struct {
	path         string // without a leading /
	mode         uint32 // with the type, as in stat(2)
	data         []byte
	minor, major uint32
}

const (
	folderMode = 0o040755
	fileMode   = 0o100444
	runMode    = 0o100555
	deviceMode = 0o020600
)

// initramfs makes the archive with the init and the modules, in the form "newc" of the kernel's
// buffer-format documentation. It isn't compressed: a guest that is translated would take longer to
// unpack it than to read it.
func initramfs(init []byte, modules []module, more ...entry) []byte {
	entries := []entry{
		{path: "dev", mode: folderMode},
		{path: "dev/console", mode: deviceMode, major: 5, minor: 1},
		{path: "proc", mode: folderMode}, {path: "sys", mode: folderMode}, {path: "root", mode: folderMode},
		{path: "init", mode: runMode, data: init},
		{path: order.ModuleFolder[1:], mode: folderMode},
	}
	for i, m := range modules {
		entries = append(entries, entry{path: fmt.Sprintf("%s/%04d-%s.ko", order.ModuleFolder[1:], i, m.name), mode: fileMode, data: m.data})
	}
	var b bytes.Buffer
	for i, e := range append(append(entries, more...), entry{path: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			i+1, e.mode, 0, 0, 1, 0, len(e.data), 0, 0, e.major, e.minor, len(e.path)+1, 0, e.path)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(e.data)
		b.Write(make([]byte, -b.Len()&3))
	}
	b.Write(make([]byte, -b.Len()&511))
	return b.Bytes()
}
