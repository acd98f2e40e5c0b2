package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The header of a qcow2 image (QEMU, docs/interop/qcow2.rst): big-endian.
const (
	qcow2Magic        = "QFI\xfb"
	qcow2Version      = 4  // 32 bits
	qcow2BackingAt    = 8  // 64 bits: where the name of another image is, 0 for none
	qcow2BackingSize  = 16 // 32 bits
	qcow2Size         = 24 // 64 bits: of the disk
	qcow2Crypt        = 32 // 32 bits: 0 for not encrypted
	qcow2V2Header     = 72 // bytes
	qcow2Incompatible = 72 // 64 bits, since version 3
	qcow2HeaderLength = 100
	qcow2V3Header     = 104 // bytes
	qcow2DataFile     = 1 << 2
	qcow2Known        = 1<<5 - 1 // dirty, corrupt, data file, compression type, extended L2 entries
	qcow2Extension    = 0x44415441
)

// CheckImage refuses a disk image that isn't of its format, or that leads QEMU to other files: a
// guest that gets at its own image could have its next start read any file of this machine.
func CheckImage(image io.ReaderAt, format Format) error {
	header := make([]byte, 4096)
	n, err := image.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return checkHeader(header[:n], format)
}

func checkHeader(header []byte, format Format) error {
	is := bytes.HasPrefix(header, []byte(qcow2Magic))
	switch {
	case len(header) == 0:
		return errors.New("is empty")
	case format == Raw:
		return nil // whatever a guest wrote at its beginning
	case !is:
		return errors.New("is no qcow2 image")
	case len(header) < qcow2V2Header:
		return errors.New("is cut off")
	}
	version := binary.BigEndian.Uint32(header[qcow2Version:])
	switch {
	case version != 2 && version != 3:
		return fmt.Errorf("is a qcow2 image of version %d: only 2 and 3 are known", version)
	case binary.BigEndian.Uint64(header[qcow2BackingAt:]) != 0 || binary.BigEndian.Uint32(header[qcow2BackingSize:]) != 0:
		return errors.New("stands on another image, and only whole ones are run (make one of both: qemu-img convert -O qcow2)")
	case binary.BigEndian.Uint32(header[qcow2Crypt:]) != 0:
		return errors.New("is encrypted, and nobody could give its password")
	case binary.BigEndian.Uint64(header[qcow2Size:]) == 0:
		return errors.New("is a disk without room")
	case version == 3:
		return checkFeatures(header)
	}
	return nil
}

func checkFeatures(header []byte) error {
	if len(header) < qcow2V3Header {
		return errors.New("is cut off")
	}
	features := binary.BigEndian.Uint64(header[qcow2Incompatible:])
	if features&qcow2DataFile != 0 {
		return errors.New("has its data in another file, and only whole images are run (make one of both: qemu-img convert -O qcow2)")
	}
	if features&^uint64(qcow2Known) != 0 {
		return fmt.Errorf("has features %#x that are not known here", features)
	}
	return checkExtensions(header)
}

// checkExtensions refuses the name of a data file, wherever it is.
func checkExtensions(header []byte) error {
	at := uint64(binary.BigEndian.Uint32(header[qcow2HeaderLength:]))
	if at < qcow2V3Header || at > uint64(len(header)) || at%8 != 0 {
		return fmt.Errorf("has a header of %d bytes", at)
	}
	for at+8 <= uint64(len(header)) {
		kind, size := binary.BigEndian.Uint32(header[at:]), uint64(binary.BigEndian.Uint32(header[at+4:]))
		switch kind {
		case 0:
			return nil
		case qcow2Extension:
			return errors.New("names another file for its data, and only whole images are run")
		}
		at += 8 + (size+7)/8*8
	}
	return errors.New("has a header of more than a page")
}
