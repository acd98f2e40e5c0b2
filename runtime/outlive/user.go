package outlive

// Users of boxes are from a range that distributions and container engines leave alone.
const (
	firstUID = 1_900_000_000
	manyUIDs = 1 << 27
)

// UserOf returns the user of a box: always the same, as a rule another one for each box.
func UserOf(id string) int {
	hash := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		hash = (hash ^ uint32(id[i])) * 16777619
	}
	return firstUID + int(hash%manyUIDs)
}
