package capture

import "time"

const (
	unitCost   = 4            // pictures that are in time pay for one late unit
	mostCredit = 8 * unitCost // so a decoder that was well for a while has 8 late units
)

// catching decides for how long late units are decoded to catch up with the camera. That is free while
// it goes at twice the camera's pace, as after a short halt of the machine. Else it is paid for by
// pictures that were in time: under a load that lasts most of the decoding must not be in vain, and
// where many cameras share a machine it takes the time of all others.
type catching struct {
	credit int
	took   time.Duration // the last unit, from the decoder to the links
}

// earn notes a picture that is in time.
func (c *catching) earn() { c.credit = min(c.credit+1, mostCredit) }

// vain tells whether to give up at a unit of this age, the first of so many that came since.
func (c *catching) vain(age time.Duration, units int) bool {
	if c.took*time.Duration(units) <= age/2 {
		return false
	}
	if c.credit < unitCost {
		return true
	}
	c.credit -= unitCost
	return false
}
