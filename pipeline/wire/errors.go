package wire

import (
	"errors"
	"fmt"
)

// What can be wrong with the other side. The wire of the box ends with an error that wraps one of them.
var (
	// ErrForeign means that the stream does not begin as this protocol does.
	ErrForeign = errors.New("not a Sightline wire")
	// ErrVersion means that the two sides have no protocol version in common.
	ErrVersion = errors.New("no protocol version in common")
	// ErrNonce means that the other side does not know the nonce of the box.
	ErrNonce = errors.New("wrong nonce")
	// ErrIdentity means that the stage is not of the kind or name that the box was started for.
	ErrIdentity = errors.New("wrong kind or name of stage")
	// ErrTooLarge means that a message, picture or list is above its bound.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed means that a message cannot be read, or says what cannot be.
	ErrMalformed = errors.New("malformed")
	// ErrUnexpected means a message or stream that has no place there.
	ErrUnexpected = errors.New("unexpected")
	// ErrFlood means that the other side sends more than any honest one would.
	ErrFlood = errors.New("flood")
	// ErrSilent means that no heartbeat, or no hello, came in time.
	ErrSilent = errors.New("no sign of life")
	// ErrEnded means that the wire is gone: the other side closed it, or this one did.
	ErrEnded = errors.New("wire ended")
)

// RefusedError is what one side answers to the other's hello when it does not want it. It unwraps to
// the named error of its code.
type RefusedError struct {
	Code   string // "version", "nonce", "identity" or "malformed"
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refused by the other side: %s", e.Reason) }

// Unwrap returns the named error of the code.
func (e *RefusedError) Unwrap() error {
	for _, r := range refusals {
		if r.code == e.Code {
			return r.err
		}
	}
	return ErrMalformed
}

// refusals are the reasons for turning a hello down that the other side is told of.
var refusals = [...]struct {
	code string
	err  error
}{{"version", ErrVersion}, {"nonce", ErrNonce}, {"identity", ErrIdentity}, {"malformed", ErrMalformed}}

// refusal finds what to tell the other side of err; ok is false when there is nobody to tell.
func refusal(err error) (r refuseBody, ok bool) {
	var told *RefusedError
	if errors.As(err, &told) {
		return r, false
	}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			return refuseBody{Code: known.code, Reason: clip(err.Error(), maxReason)}, true
		}
	}
	return r, false
}
