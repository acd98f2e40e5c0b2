// Package qemu runs the guests of boxes: one QEMU process each, which outlives its supervisor.
//
// Find looks for QEMU and tries it. Start starts a guest from settings, of which there are only
// typed ones; Recover adopts it after the supervisor was started anew. A guest's network is
// restricted to forwarded addresses, and what comes in from there, or through a virtio-serial port,
// ends in a socket in the box's folder that only the supervisor can open: Process.Dial.
//
// # What a guest is kept in by
//
// QEMU runs under its own seccomp filter with no_new_privs, in a session and, where the supervisor
// is root, as a user of its own. Its files are handed to it open; it needs no path but its folder,
// in which it can write nothing.
//
// # What outlives the supervisor
//
// QEMU, with its console in a pipe of which it holds both ends, as in package process, and with
// sockets on which it goes on listening. Before anything is made the intent is on disk; until QEMU
// runs and is recorded, a lock that it holds tells of it.
package qemu
