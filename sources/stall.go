package sources

import "errors"

// ErrStalled is wrapped by the error of a source that is still connected when nothing comes any more,
// or nothing that makes a picture: the camera has stalled, which is not the same as being away.
var ErrStalled = errors.New("the camera is connected, but sends nothing that can be shown")
