package wire

import (
	"encoding/json"
	"fmt"
	"math"

	"sightline/pipeline"
)

// A stream begins with one record, whose type says what the stream is.
const (
	streamControl recordType = 16
	streamClock   recordType = 17
	streamFrames  recordType = 18
	streamResults recordType = 19
	streamDial    recordType = 20
)

// opening is the first record of a stream. Control and clock have no body.
type opening struct {
	kind recordType

	// frames and results
	Link string         `json:"link,omitempty"`
	Wish *pipeline.Wish `json:"wish,omitempty"` // frames: what the consumer wants

	// results: which outbox this is, for the receiver to know what it already has
	Epoch string `json:"epoch,omitempty"`

	// dial
	Network string `json:"network,omitempty"`
	Address string `json:"address,omitempty"` // a grant's name, or its host:port
}

func encodeOpening(o opening) ([]byte, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxOpening {
		return nil, fmt.Errorf("opening of %d bytes, at most %d: %w", len(body), MaxOpening, ErrTooLarge)
	}
	return appendRecord(nil, o.kind, body), nil
}

func decodeOpening(kind recordType, body []byte) (opening, error) {
	o := opening{kind: kind}
	if err := decodeJSON(body, &o); err != nil {
		return o, err
	}
	for _, f := range []struct{ what, text string }{{"link", o.Link}, {"epoch", o.Epoch}, {"network", o.Network}} {
		if err := checkText(f.what, f.text, maxName); err != nil {
			return o, err
		}
	}
	if err := checkText("address", o.Address, maxText); err != nil {
		return o, err
	}
	if kind == streamFrames {
		if o.Wish == nil {
			return o, fmt.Errorf("frames without a wish: %w", ErrMalformed)
		}
		return o, CheckWish(*o.Wish)
	}
	return o, nil
}

// openingLimit is the bound of openings for readRecord.
func openingLimit(t recordType) int {
	if t >= streamControl && t <= streamDial {
		return MaxOpening
	}
	return 0
}

// CheckWish says whether a wish can be met: sizes within MaxSide and MaxFrame, known words, regions
// inside the picture whose names differ.
func CheckWish(w pipeline.Wish) error {
	if w.Width < 1 || w.Height < 1 || w.Width > MaxSide || w.Height > MaxSide || w.Width*w.Height*3 > MaxFrame {
		return fmt.Errorf("wish for frames of %d×%d: %w", w.Width, w.Height, ErrTooLarge)
	}
	if w.Color != pipeline.RGB && w.Color != pipeline.BGR {
		return fmt.Errorf("wish for colour %q: %w", clip(string(w.Color), maxName), ErrMalformed)
	}
	switch w.Resize {
	case pipeline.ResizeStandard, pipeline.ResizeCrop, pipeline.ResizeFit, pipeline.ResizeLetterbox:
	default:
		return fmt.Errorf("wish for resize type %q: %w", clip(string(w.Resize), maxName), ErrMalformed)
	}
	if !(w.CropFraction >= 0 && w.CropFraction <= 1) {
		return fmt.Errorf("wish for crop fraction %v: %w", w.CropFraction, ErrMalformed)
	}
	return checkRegions(w.Regions)
}

func checkRegions(regions []pipeline.Region) error {
	if len(regions) > MaxRegions {
		return fmt.Errorf("wish for %d regions, at most %d: %w", len(regions), MaxRegions, ErrTooLarge)
	}
	seen := make(map[string]bool, len(regions))
	for _, r := range regions {
		if err := checkText("name of a region", r.Name, maxName); err != nil {
			return err
		}
		inside := r.Left >= 0 && r.Left < r.Right && r.Right <= 1 && r.Top >= 0 && r.Top < r.Bottom && r.Bottom <= 1
		if !inside || math.IsNaN(r.Left+r.Right+r.Top+r.Bottom) || seen[r.Name] {
			return fmt.Errorf("region %q is not inside the picture, or there twice: %w", r.Name, ErrMalformed)
		}
		seen[r.Name] = true
	}
	return nil
}
