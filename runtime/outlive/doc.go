// Package outlive has what lets a box outlive its supervisor, for drivers whose boxes are processes of
// this machine: a record on disk, a lock, a log in a pipe, and ways to know a process again.
package outlive
