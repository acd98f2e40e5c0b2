package events

import (
	"slices"
	"strconv"
	"strings"
)

// maxRuns is how many runs of a stage are remembered in a place.
const maxRuns = 16

// run is one run of the classify stage as its results' ids show it: the same text with a number that
// grows. An id that does not end in a number is a run of its own.
type run struct {
	Prefix string `json:"prefix"`
	Last   uint64 `json:"last"`
}

// runs are those seen last, the newest at the end. They tell a result that comes again from a new one
// however many came between, and need room for a few words only.
type runs []run

// fresh tells whether an id is new, and takes note of it.
func (l *runs) fresh(id string) bool {
	prefix, number := split(id)
	i := slices.IndexFunc(*l, func(r run) bool { return r.Prefix == prefix })
	if i < 0 {
		if len(*l) == maxRuns {
			*l = slices.Delete(*l, 0, 1)
		}
		*l = append(*l, run{prefix, number})
		return true
	}
	if number <= (*l)[i].Last {
		return false
	}
	(*l)[i].Last = number
	if newest := len(*l) - 1; i < newest {
		r := (*l)[i]
		*l = append(slices.Delete(*l, i, i+1), r)
	}
	return true
}

// split cuts an id into what stands before its number, and the number.
func split(id string) (prefix string, number uint64) {
	prefix = strings.TrimRight(id, "0123456789")
	number, err := strconv.ParseUint(id[len(prefix):], 10, 64)
	if err != nil { // no digits, or more than a number has
		return id, 0
	}
	return prefix, number
}
