package pipeline

import (
	"errors"
	"fmt"
)

// ErrNotGranted is returned for a connection that the stage's section of the pipeline file does not name.
var ErrNotGranted = errors.New("not granted")

// ErrClosed is returned by a link whose other side is gone for good.
var ErrClosed = errors.New("link closed")

type permanentError struct{ err error }

func (e permanentError) Error() string { return e.err.Error() }
func (e permanentError) Unwrap() error { return e.err }

// Permanent marks an error that trying again will not mend: a wrong password, a model that does not
// load. Who runs the stage still tries again, but slowly, and says so.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// Permanentf is Permanent of fmt.Errorf.
func Permanentf(format string, args ...any) error {
	return Permanent(fmt.Errorf(format, args...))
}

// IsPermanent tells whether err, or an error it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// Reason names why a picture was dropped. It is the label `reason` of
// sightline_frames_dropped_total, so the set is closed.
type Reason string

// The reasons for dropping, in the order of the frame's way.
const (
	DropNoConsumer    Reason = "no_consumer"       // nobody wants frames of this source yet
	DropNotKeyframe   Reason = "not_keyframe"      // sample: every keyframe
	DropNonReference  Reason = "non_reference"     // low fps: nothing depends on this picture
	DropAwaitKeyframe Reason = "awaiting_keyframe" // nothing before the next keyframe can be decoded
	DropBehind        Reason = "decoder_behind"    // the decoder does not keep up with the camera
	DropDamaged       Reason = "damaged"           // missing packets or bits the decoder refused
	DropHidden        Reason = "hidden"            // cut away by the edit list of its file
	DropSampled       Reason = "sampled"           // decoded, but sample fps wants fewer
	DropNoMotion      Reason = "no_motion"         // nothing moves in it, and motion gates
	DropSuperseded    Reason = "superseded"        // a newer frame came before the model was free
	DropStale         Reason = "stale"             // older than the staleness budget
	DropStopping      Reason = "stopping"          // the stage was asked to stop
	DropFailed        Reason = "inference_failed"  // the model returned an error
)

// Reasons lists every reason.
var Reasons = []Reason{
	DropNoConsumer, DropNotKeyframe, DropNonReference, DropAwaitKeyframe, DropBehind, DropDamaged,
	DropHidden, DropSampled, DropNoMotion, DropSuperseded, DropStale, DropStopping, DropFailed,
}
