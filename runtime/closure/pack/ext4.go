package pack

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"path"

	"sightline/runtime/closure"
)

// The layout is that of the kernel's documentation, "ext4 Data Structures and Algorithms": block 0
// with the superblock, the group descriptors, all bitmaps, all inode tables (so flex_bg), then data
// without a gap (sparse_super2 without copies of the superblock). Every file is one run of blocks,
// told by extents.
const (
	blockSize      = 4096
	blocksPerGroup = 8 * blockSize
	inodeSize      = 256
	inodesPerBlock = blockSize / inodeSize
	descriptorSize = 32
	maxExtent      = 32768 // blocks
	maxLeaf        = blockSize/12 - 1
	extentsInInode = 4
	rootInode      = 2
	firstInode     = 11 // lost+found; those before it are reserved
	extraSize      = 32 // bytes of an inode past the first 128 that have a meaning
	shortLink      = 60 // a link's target of fewer bytes is in the inode
	lostAndFound   = "/lost+found"
)

// Features, by their names in the documentation.
const (
	compatSparseSuper2  = 0x200
	incompatFileType    = 0x2
	incompatExtents     = 0x40
	incompatFlexGroups  = 0x200
	roCompatLargeFile   = 0x2
	roCompatExtraInodes = 0x40
	flagExtents         = 0x80000
)

// volume is a file system whose layout is settled.
type volume struct {
	uuid           []byte
	inodes         []*inode // the used ones, by number
	groups         int64
	inodesPerGroup int64
	metaBlocks     int64 // all before the data
	blocks         int64
}

// inode is a node with its place.
type inode struct {
	node
	number   uint32
	folder   []byte // the content of a folder
	links    int64
	first    int64 // block of its content
	count    int64 // blocks of its content
	leaf     int64 // block with its extents, when they don't fit in the inode; 0: they do
	children []*inode
	parent   *inode
}

func (n *inode) isFolder() bool { return n.mode&typeMask == typeDir }

func (n *inode) bytes() int64 {
	if n.isFolder() {
		return int64(len(n.folder))
	}
	return n.size()
}

func newVolume(digest closure.Digest, nodes []node) (*volume, error) {
	uuid, err := hex.DecodeString(string(digest[:32]))
	if err != nil {
		return nil, err
	}
	v := &volume{uuid: uuid}
	v.number(nodes)
	data := int64(0)
	for _, n := range v.inodes {
		if n.isFolder() {
			n.folder = n.encodeFolder()
		}
		if n.mode&typeMask == typeSym && len(n.link) < shortLink {
			continue
		}
		n.count = blocksFor(n.bytes(), blockSize)
		data += n.count
		if extents := blocksFor(n.count, maxExtent); extents > maxLeaf {
			return nil, fmt.Errorf("file %q of %d bytes is too large", n.path, n.bytes())
		} else if extents > extentsInInode {
			data++
		}
	}
	v.settle(data)
	return v, nil
}

// number makes inodes of the nodes, which are sorted, parents first.
func (v *volume) number(nodes []node) {
	byPath := map[string]*inode{}
	next := uint32(firstInode + 1)
	var lost *inode
	for _, n := range nodes {
		made := &inode{node: n, links: 1}
		switch n.path {
		case "/":
			made.number, made.links = rootInode, 2
		case lostAndFound:
			made.number, lost = firstInode, made
		default:
			made.number = next
			next++
		}
		byPath[n.path] = made
		if made.parent = byPath[path.Dir(n.path)]; made.parent != made {
			made.parent.children = append(made.parent.children, made)
			if made.isFolder() {
				made.links = 2
				made.parent.links++
			}
		}
		if made != lost {
			v.inodes = append(v.inodes, made)
		}
	}
	v.inodes = append(v.inodes[:1], append([]*inode{lost}, v.inodes[1:]...)...)
}

// settle gives everything its blocks.
func (v *volume) settle(data int64) {
	used := int64(firstInode + len(v.inodes) - 2)
	for v.groups = 1; ; v.groups++ {
		v.inodesPerGroup = blocksFor(blocksFor(used, v.groups), inodesPerBlock) * inodesPerBlock
		tables := v.groups * v.inodesPerGroup / inodesPerBlock
		v.metaBlocks = 1 + blocksFor(v.groups*descriptorSize, blockSize) + 2*v.groups + tables
		v.blocks = v.metaBlocks + data
		if v.blocks <= v.groups*blocksPerGroup {
			break
		}
	}
	next := v.metaBlocks
	for _, n := range v.inodes {
		if blocksFor(n.count, maxExtent) > extentsInInode {
			n.leaf = next
			next++
		}
		n.first = next
		next += n.count
	}
}

func blocksFor(size, unit int64) int64 { return (size + unit - 1) / unit }

// write writes all blocks in their order.
func (v *volume) write(w io.Writer, from closure.Contents) error {
	out := &counter{w: w}
	for _, part := range [][]byte{v.superblock(), v.descriptors()} {
		if err := out.block(part); err != nil {
			return err
		}
	}
	for range v.groups { // no block is free
		if err := out.block(bitmap(0, 0)); err != nil {
			return err
		}
	}
	for g := range v.groups {
		if err := out.block(bitmap(v.usedInodes(g), v.inodesPerGroup)); err != nil {
			return err
		}
	}
	if err := v.writeTables(out); err != nil {
		return err
	}
	for _, n := range v.inodes {
		if err := n.writeContent(out, from); err != nil {
			return err
		}
	}
	return nil
}

// block writes data and zeros up to the next block.
func (c *counter) block(data []byte) error {
	if _, err := c.Write(data); err != nil {
		return err
	}
	return c.pad(blockSize)
}

// bitmap has the first used of count bits set, and all that stand for nothing.
func bitmap(used, count int64) []byte {
	bits := make([]byte, blockSize)
	for i := range int64(8 * blockSize) {
		if i < used || i >= count {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}

// usedInodes returns how many of a group's inodes are used: they are the first ones.
func (v *volume) usedInodes(group int64) int64 {
	used := int64(firstInode+len(v.inodes)-2) - group*v.inodesPerGroup
	return max(0, min(used, v.inodesPerGroup))
}

func (v *volume) superblock() []byte {
	b := make([]byte, blockSize)
	s := b[1024:2048]
	u16 := func(at int, value uint16) { binary.LittleEndian.PutUint16(s[at:], value) }
	u32 := func(at int, value int64) { binary.LittleEndian.PutUint32(s[at:], uint32(value)) }
	u32(0x00, v.groups*v.inodesPerGroup)
	u32(0x04, v.blocks)
	u32(0x10, v.groups*v.inodesPerGroup-int64(firstInode+len(v.inodes)-2)) // free inodes
	u32(0x18, 2)                                                           // blocks of 1024<<2 bytes
	u32(0x1c, 2)
	u32(0x20, blocksPerGroup)
	u32(0x24, blocksPerGroup)
	u32(0x28, v.inodesPerGroup)
	u16(0x36, 0xffff) // never to be checked for its age
	u16(0x38, 0xef53)
	u16(0x3a, 1) // clean
	u16(0x3c, 1) // on errors go on
	u32(0x4c, 1) // revision
	u32(0x54, firstInode)
	u16(0x58, inodeSize)
	u32(0x5c, compatSparseSuper2)
	u32(0x60, incompatFileType|incompatExtents|incompatFlexGroups)
	u32(0x64, roCompatLargeFile|roCompatExtraInodes)
	copy(s[0x68:], v.uuid)
	copy(s[0x78:], "sightline")
	u16(0x15c, extraSize)
	u16(0x15e, extraSize)
	s[0x174] = 4 // groups per flexible group: 1<<4
	return b
}

func (v *volume) descriptors() []byte {
	b := make([]byte, v.groups*descriptorSize)
	bitmaps := 1 + blocksFor(int64(len(b)), blockSize)
	for g := range v.groups {
		d := b[g*descriptorSize:]
		binary.LittleEndian.PutUint32(d, uint32(bitmaps+g))
		binary.LittleEndian.PutUint32(d[4:], uint32(bitmaps+v.groups+g))
		binary.LittleEndian.PutUint32(d[8:], uint32(bitmaps+2*v.groups+g*v.inodesPerGroup/inodesPerBlock))
		binary.LittleEndian.PutUint16(d[14:], uint16(v.inodesPerGroup-v.usedInodes(g)))
		folders := uint16(0)
		for _, n := range v.inodes {
			if n.isFolder() && (int64(n.number)-1)/v.inodesPerGroup == g {
				folders++
			}
		}
		binary.LittleEndian.PutUint16(d[16:], folders)
	}
	return b
}
