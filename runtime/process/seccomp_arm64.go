package process

// deniedHere are the denied calls that only this platform has.
func deniedHere() []uint32 { return nil }
