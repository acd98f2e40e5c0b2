// Package program is what the programs of stages in boxes share, and what who starts them must know of
// them.
package program

// Path is the program's place in the closure of every stage.
const Path = "/stage"
