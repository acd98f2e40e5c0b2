package device

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"
)

// Found is a device file and what is behind it.
type Found struct {
	Path string
	Card string // what the camera calls itself
	Err  error  // why it cannot be used; nil for a camera
}

// List returns the video devices of this machine.
func List() []Found {
	paths, _ := filepath.Glob("/dev/video*") // the pattern is good
	slices.Sort(paths)
	var all []Found
	for _, path := range paths {
		f := Found{Path: path}
		f.Card, f.Err = inspect(path)
		all = append(all, f)
	}
	return all
}

func inspect(path string) (card string, err error) {
	n, err := openNode(path)
	if err != nil {
		return "", explain(path, err)
	}
	defer n.close()
	c := capture{node: n}
	err = c.look()
	return c.card, err
}

// present says which devices there are, for messages; it opens none that could be in use.
func present() string {
	paths, _ := filepath.Glob("/dev/video*") // the pattern is good
	if len(paths) == 0 {
		return "there is no /dev/video* on this machine"
	}
	var all []string
	for _, path := range paths {
		card := ""
		if n, err := openNode(path); err == nil {
			var about v4l2Capability
			if n.control(queryCap, unsafe.Pointer(&about)) == nil {
				card = fmt.Sprintf(" %q", text(about.card[:]))
			}
			n.close()
		}
		all = append(all, path+card)
	}
	return "there is " + strings.Join(all, ", ")
}
