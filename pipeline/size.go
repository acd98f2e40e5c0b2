package pipeline

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes. In text it carries a unit: B, KiB, MiB, GiB, TiB, or the decimal kB,
// MB, GB, TB.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a size such as "256MiB" or "1.5 GiB".
func ParseSize(text string) (Size, error) {
	trimmed := strings.TrimSpace(text)
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(trimmed, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		bytes := v * float64(u.bytes)
		if err != nil || !(bytes >= 0 && bytes < 1<<62) {
			return 0, fmt.Errorf("%q is not a size (write it like 256MiB)", text)
		}
		return Size(bytes), nil
	}
	return 0, fmt.Errorf("%q has no unit (write it like 256MiB)", text)
}

// String writes the size with the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// UnmarshalText reads what ParseSize reads.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	*s = v
	return err
}

// MarshalText writes what String writes.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
