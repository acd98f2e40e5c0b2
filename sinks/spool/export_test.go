package spool

// ChecksumLine makes text a line of a segment.
func ChecksumLine(text string) string { return string(finishLine([]byte("00000000 "+text), 0)) }
