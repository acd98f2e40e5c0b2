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
// Either side takes nothing from the other on trust: sizes are checked before memory is taken, what
// waits is bounded, what floods is slowed down or cut off. A breach of the protocol ends the wire of
// that one box with an error that wraps one of the package's named errors.
package wire
