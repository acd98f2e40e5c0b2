package nanos

import "slices"

// The encoding of tuples in the log of TFS, version 5 (Nanos, src/runtime/tuple.c): a header of one
// byte, with more behind it for large numbers, then what it announces. Symbols, tuples and lists are
// numbered as they come; a symbol is written once and then named by its number.
const (
	kindBuffer byte = 0 // a symbol
	kindTuple  byte = 1
	kindList   byte = 2
	kindText   byte = 4

	immediate byte = 0x80 // the value follows, it is no number of an earlier one
	longer    byte = 0x08 // the number goes on in the next bytes
)

// value is what a tuple has under a name.
type value interface {
	encode(e *encoder)
}

// text is bytes.
type text string

// list is texts by their numbers.
type list []string

// tuple has values by names. It is encoded in the order of the names.
type tuple map[string]value

type encoder struct {
	out     []byte
	symbols map[string]uint64
	entries uint64 // that were numbered
}

// encodeTuple returns the encoded form of a tuple in a log of its own.
func encodeTuple(t tuple) []byte {
	e := &encoder{symbols: map[string]uint64{}}
	t.encode(e)
	return e.out
}

func (e *encoder) header(flags, kind byte, n uint64) {
	groups := 0 // of seven bits, beyond the three in the first byte
	for n>>(7*groups) > 7 {
		groups++
	}
	first := flags | kind<<4 | byte(n>>(7*groups))
	if groups > 0 {
		first |= longer
	}
	e.out = append(e.out, first)
	for groups--; groups >= 0; groups-- {
		b := byte(n>>(7*groups)) & 0x7f
		if groups > 0 {
			b |= 0x80
		}
		e.out = append(e.out, b)
	}
}

func (e *encoder) symbol(name string) {
	if number, ok := e.symbols[name]; ok {
		e.header(0, kindBuffer, number)
		return
	}
	e.header(immediate, kindBuffer, uint64(len(name)))
	e.out = append(e.out, name...)
	e.entries++
	e.symbols[name] = e.entries
}

func (t text) encode(e *encoder) {
	e.header(immediate, kindText, uint64(len(t)))
	e.out = append(e.out, t...)
}

func (l list) encode(e *encoder) {
	e.header(immediate, kindList, uint64(len(l)))
	e.entries++
	for _, item := range l {
		text(item).encode(e)
	}
}

func (t tuple) encode(e *encoder) {
	e.header(immediate, kindTuple, uint64(len(t)))
	e.entries++
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		e.symbol(name)
		t[name].encode(e)
	}
}

// appendVarint appends a number in groups of seven bits, the highest first; all but the last byte
// have their highest bit set.
func appendVarint(b []byte, n uint64) []byte {
	groups := 0
	for n>>(7*groups) > 0x7f {
		groups++
	}
	for ; groups > 0; groups-- {
		b = append(b, byte(n>>(7*groups))|0x80)
	}
	return append(b, byte(n)&0x7f)
}
