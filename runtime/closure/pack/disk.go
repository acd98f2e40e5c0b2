package pack

import (
	"bufio"
	"fmt"
	"io"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// Disk is a read-only ext4 file system for a Linux guest: the closure, the empty folders /proc, /sys,
// /dev and /tmp, and the nodes /dev/console and /dev/null. It is written here, by no tool, so that
// the same closure gives the same bytes on every machine; it has no journal and no free space, and
// is to be mounted read-only. Its UUID is taken from the closure's digest.
type Disk struct{}

// Key implements store.Packing.
func (Disk) Key() (string, error) { return "disk.ext4", nil }

// Pack implements store.Packing.
func (Disk) Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error {
	digest, err := m.Digest()
	if err != nil {
		return fmt.Errorf("pack disk: %w", err)
	}
	nodes, err := closureNodes(m)
	if err != nil {
		return fmt.Errorf("pack disk: %w", err)
	}
	if nodes, err = withFolders(append(nodes, devices()...), "/proc", "/sys", "/tmp", lostAndFound); err != nil {
		return fmt.Errorf("pack disk: %w", err)
	}
	nodes = append([]node{{path: "/", mode: typeDir | 0o755}}, nodes...)
	volume, err := newVolume(digest, nodes)
	if err != nil {
		return fmt.Errorf("pack disk: %w", err)
	}
	buffered := bufio.NewWriterSize(w, 1<<16)
	if err := volume.write(buffered, from); err != nil {
		return fmt.Errorf("pack disk: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("pack disk: %w", err)
	}
	return nil
}

var _ store.Packing = Disk{}
