package pack

import (
	"encoding/binary"
	"path"

	"sightline/runtime/closure"
)

// writeTables writes the inode tables of all groups, which follow each other.
func (v *volume) writeTables(out *counter) error {
	next := 0
	for number := int64(1); number <= v.groups*v.inodesPerGroup; number++ {
		raw := make([]byte, inodeSize)
		if next < len(v.inodes) && int64(v.inodes[next].number) == number {
			raw = v.inodes[next].encode()
			next++
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// encode returns the inode; owner and times are zero.
func (n *inode) encode() []byte {
	b := make([]byte, inodeSize)
	binary.LittleEndian.PutUint16(b[0x00:], uint16(n.mode))
	binary.LittleEndian.PutUint32(b[0x04:], uint32(n.bytes()))
	binary.LittleEndian.PutUint16(b[0x1a:], uint16(n.links))
	blocks := n.count
	if n.leaf != 0 {
		blocks++
	}
	binary.LittleEndian.PutUint32(b[0x1c:], uint32(blocks*blockSize/512))
	binary.LittleEndian.PutUint32(b[0x6c:], uint32(n.bytes()>>32))
	binary.LittleEndian.PutUint16(b[0x80:], extraSize)
	place := b[0x28 : 0x28+shortLink]
	switch {
	case n.mode&typeMask == typeChar:
		binary.LittleEndian.PutUint32(place, n.major<<8|n.minor)
	case n.mode&typeMask == typeSym && n.count == 0:
		copy(place, n.link)
	default:
		binary.LittleEndian.PutUint32(b[0x20:], flagExtents)
		n.encodeMap(place)
	}
	return b
}

// encodeMap writes the extents in the inode, or where the block with them is.
func (n *inode) encodeMap(into []byte) {
	if n.leaf == 0 {
		n.encodeExtents(into, extentsInInode)
		return
	}
	extentHeader(into, 1, extentsInInode, 1)
	binary.LittleEndian.PutUint32(into[16:], uint32(n.leaf)) // after the first file block, 0
}

func (n *inode) encodeExtents(into []byte, most uint16) {
	count := blocksFor(n.count, maxExtent)
	extentHeader(into, uint16(count), most, 0)
	for i := range count {
		e := into[12+12*i:]
		binary.LittleEndian.PutUint32(e, uint32(i*maxExtent))
		binary.LittleEndian.PutUint16(e[4:], uint16(min(n.count-i*maxExtent, maxExtent)))
		binary.LittleEndian.PutUint32(e[8:], uint32(n.first+i*maxExtent))
	}
}

func extentHeader(into []byte, count, most, depth uint16) {
	binary.LittleEndian.PutUint16(into, 0xf30a)
	binary.LittleEndian.PutUint16(into[2:], count)
	binary.LittleEndian.PutUint16(into[4:], most)
	binary.LittleEndian.PutUint16(into[6:], depth)
}

// writeContent writes the blocks of a file, folder or long link, and those that map them.
func (n *inode) writeContent(out *counter, from closure.Contents) error {
	if n.leaf != 0 {
		leaf := make([]byte, blockSize)
		n.encodeExtents(leaf, maxLeaf)
		if err := out.block(leaf); err != nil {
			return err
		}
	}
	if n.count == 0 {
		return nil
	}
	if n.isFolder() {
		return out.block(n.folder)
	}
	if err := n.write(out, from); err != nil {
		return err
	}
	return out.pad(blockSize)
}

// encodeFolder returns whole blocks of entries; none crosses from one to the next, and the last of
// each reaches to its end.
func (n *inode) encodeFolder() []byte {
	var data []byte
	last := 0
	add := func(number uint32, mode uint32, name string) {
		size := (8 + len(name) + 3) &^ 3
		if room := (blockSize - len(data)%blockSize) % blockSize; len(data) > 0 && size > room {
			stretch(data, last, len(data)+room-last)
			data = append(data, make([]byte, room)...)
		}
		last = len(data)
		data = append(data, make([]byte, size)...)
		e := data[last:]
		binary.LittleEndian.PutUint32(e, number)
		e[6], e[7] = byte(len(name)), entryType(mode)
		copy(e[8:], name)
		stretch(data, last, size)
	}
	add(n.number, n.mode, ".")
	add(n.parent.number, n.parent.mode, "..")
	for _, child := range n.children {
		add(child.number, child.mode, path.Base(child.path))
	}
	room := (blockSize - len(data)%blockSize) % blockSize
	stretch(data, last, len(data)+room-last)
	return append(data, make([]byte, room)...)
}

func stretch(data []byte, at, size int) {
	binary.LittleEndian.PutUint16(data[at+4:], uint16(size))
}

func entryType(mode uint32) byte {
	switch mode & typeMask {
	case typeDir:
		return 2
	case typeChar:
		return 3
	case typeSym:
		return 7
	}
	return 1
}
