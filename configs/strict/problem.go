package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a document. No text in it shows a secret.
type Problem struct {
	File       string // as the caller named it
	Line       int    // from 1; 0: the problem has no place in the file
	Column     int    // from 1, in characters
	Key        string // path of the key, such as sources.gate.rtsp.url; empty for the whole file
	Problem    string // what is wrong
	Suggestion string // what would be right; empty where nothing can be said
	Warning    bool   // the document can be used in spite of it
}

// String writes the problem as file:line:column: key: problem (suggestion).
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Problem)
	if p.Suggestion != "" {
		b.WriteString(" (" + p.Suggestion + ")")
	}
	return b.String()
}

// Problems is all that is wrong with a document, in the order of the file. As an error it prints
// one problem a line.
type Problems []Problem

// Error writes every problem on a line of its own.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems as an error if at least one is more than a warning, else nil.
func (p Problems) Err() error {
	if slices.ContainsFunc(p, func(q Problem) bool { return !q.Warning }) {
		return p
	}
	return nil
}

// Merge returns the problems of both lists in the order of the file.
func (p Problems) Merge(more Problems) Problems { return slices.Concat(p, more).sorted() }

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return p
}
