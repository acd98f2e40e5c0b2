package configs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mostGrants is for how many addresses there is room in a guest's network.
const mostGrants = 100

// guests checks the whole other systems.
func (c *checker) guests() {
	stages, disks := c.stageNames(), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.p.Runtime.Guests)) {
		path, g := "runtime.guests."+name, c.p.Runtime.Guests[name]
		if slices.Contains(stages, name) {
			c.problem(path, "has the name of a stage", "a name means one thing; choose another, such as "+name+"-guest")
		}
		well := c.disk(path, &g)
		c.p.Runtime.Guests[name] = g
		other, taken := disks[g.Disk]
		switch {
		case !well:
		case !taken:
			disks[g.Disk] = name
		case !g.Snapshot || !c.p.Runtime.Guests[other].Snapshot:
			c.problem(path+".disk", "is the disk of runtime.guests."+other+" too, and is written", "give each a copy, or both snapshot: true")
		}
		if len(g.Grants) > mostGrants {
			c.problem(path+".grants", fmt.Sprintf("are %d, more than %d", len(g.Grants), mostGrants), "")
		}
		for _, grant := range slices.Sorted(maps.Keys(g.Grants)) {
			c.grant(path+".grants."+grant, g.Grants[grant])
		}
	}
}

// disk checks the image of a guest; true when nothing is wrong with it.
func (c *checker) disk(path string, g *Guest) bool {
	key, before := path+".disk", len(c.problems)
	c.existing(key, &g.Disk)
	if !c.doc.Given(key) || len(c.problems) > before {
		return false
	}
	if !c.opts.Elsewhere && (c.doc.Given(path+".format") || !c.doc.Stands(path+".format")) {
		c.image(key, g)
	}
	return len(c.problems) == before
}

func (c *checker) image(key string, g *Guest) {
	header, err := readHeader(g.Disk, 104)
	if err != nil {
		c.problem(key, cause(err), "")
		return
	}
	if problem, suggestion := imageProblem(header, g.Format); problem != "" {
		c.problem(key, problem, suggestion)
		return
	}
	if g.Snapshot {
		return
	}
	f, err := os.OpenFile(g.Disk, os.O_RDWR, 0)
	if err != nil {
		c.problem(key, "cannot be written: "+writeCause(err), "let this user write it, or write snapshot: true")
		return
	}
	_ = f.Close() // nothing was written
}

func writeCause(err error) string {
	if errors.Is(err, os.ErrPermission) {
		return "this user must not"
	}
	return cause(err)
}

// The header of a qcow2 image (QEMU, docs/interop/qcow2.rst): magic, then at 8 where the name of its
// backing file is, at 72 the incompatible features, of which bit 2 is a data file of its own.
const (
	qcow2Magic       = "QFI\xfb"
	qcow2Backing     = 8
	qcow2Features    = 72
	qcow2ExternalBit = 1 << 2
)

// imageProblem says what is wrong with a disk image that begins with header. One that leads to other
// files is refused: QEMU would open whatever files of this machine it names.
func imageProblem(header []byte, format string) (problem, suggestion string) {
	is := strings.HasPrefix(string(header), qcow2Magic)
	switch {
	case format == QCOW2 && !is:
		return "is no qcow2 image", "write format: raw, if that is what it is"
	case format == Raw && is:
		return "is a qcow2 image", "write format: qcow2"
	case format == Raw:
		return "", ""
	case len(header) < qcow2Features:
		return "is cut off", ""
	case binary.BigEndian.Uint64(header[qcow2Backing:]) != 0:
		return "leads to another image, which it stands on", "make one of both: qemu-img convert -O qcow2"
	case len(header) >= qcow2Features+8 && binary.BigEndian.Uint32(header[4:]) >= 3 &&
		binary.BigEndian.Uint64(header[qcow2Features:])&qcow2ExternalBit != 0:
		return "leads to another file, which has its data", "make one of both: qemu-img convert -O qcow2"
	}
	return "", ""
}

// readHeader returns the first bytes of a file, fewer when it is shorter.
func readHeader(name string, n int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	header := make([]byte, n)
	got, err := io.ReadFull(f, header)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return header[:got], err
}

// grant checks an address that a guest may reach.
func (c *checker) grant(path, text string) {
	if !c.doc.Given(path) {
		return
	}
	host, port, err := net.SplitHostPort(text)
	number, portErr := strconv.ParseUint(port, 10, 16)
	const like = `write it like "192.0.2.5:502"`
	switch {
	case strings.Contains(text, "://"):
		c.problem(path, "is an address with a scheme; a guest reaches TCP ports", like)
	case err != nil || portErr != nil || number == 0 || fmt.Sprint(number) != port:
		c.problem(path, "is not host:port", like)
	case host == "" || strings.ContainsAny(host, " \t/@*?,%") || host == "0.0.0.0" || host == "::":
		c.problem(path, "does not name one host", like)
	}
}
