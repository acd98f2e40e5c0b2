// Package wire is the one byte stream between a box and the supervisor. Everything that a stage
// receives or sends goes over it: configuration, secrets, frames, results, the connections to its
// camera or broker, heartbeats, statistics and logs.
//
// The stream begins with a hello (hello.go): both sides say who they are, agree on a version, and
// prove that they know the nonce of the box. Then it carries many streams (yamux, guarded by
// guard.go), each of which begins with an opening (opening.go) that says what it is:
//
//	control  stage → supervisor   records both ways (control.go)
//	clock    stage → supervisor   exchanges that tell a stage in a guest the host's time (clock.go)
//	frames   consumer → producer  the wish; then frames against credits, latest wins (frames.go)
//	results  producer → consumer  results in order, acknowledged, none lost (results.go, outbox.go)
//	dial     stage → supervisor   a connection to a granted endpoint (dial.go, blocks.go)
//
// The arrow points from who opens a stream to who accepts it. All numbers are big-endian. All times
// on the wire are the host's: the stage's end converts them on their way in and out.
//
// Two boxes under one kernel have their frames go straight from one to the other (direct.go): over a
// unix socket, which can pass connections on (passing.go), the supervisor hands each one end of a
// connection of their own. The classify stage begins it as it begins a frames stream. Such a link
// outlives the supervisor; where there is none, frames go through the supervisor as everywhere.
//
// What a frame of 224×224 costs from box to box: 30 µs directly, 160 µs through the supervisor
// (BenchmarkFrame). Memory shared by two boxes could save at most those 30 µs, a thousandth of a
// processor at 30 frames a second, and would let a box change a picture while the other reads it: it
// is not there.
//
// Either side takes nothing from the other on trust: sizes are checked before memory is taken, what
// waits is bounded, what floods is slowed down or cut off. A breach of the protocol ends the wire of
// that one box with an error that wraps one of the package's named errors.
package wire
