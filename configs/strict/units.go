package strict

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
)

// The patterns of durations and sizes, for the JSON Schema.
const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	sizePattern     = `^[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$`
)

var (
	durationText = regexp.MustCompile(durationPattern)
	sizeText     = regexp.MustCompile(sizePattern)
)

var numberUnit = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$`)

// readDuration reads what time.ParseDuration reads, but for signs and for a 0 without unit.
func readDuration(l literal) (any, *fault) {
	v, err := time.ParseDuration(l.text)
	if err == nil && durationText.MatchString(l.text) {
		return v, nil
	}
	if err == nil && v < 0 {
		return nil, &fault{"must not be negative", ""}
	}
	number := numberUnit.FindStringSubmatch(l.text)
	if number == nil {
		return nil, &fault{l.show() + " is not a duration", "write it like 500ms, 5s or 2h"}
	}
	suggestion := "write it like 500ms, 5s or 2h"
	if meant := durationMeant(number[1], strings.ToLower(number[2])); meant != "" && !l.loose {
		suggestion = "write " + meant
	}
	if number[2] == "" {
		return nil, &fault{"has no unit", suggestion}
	}
	return nil, &fault{l.show() + " is not a duration", suggestion}
}

// durationMeant writes a number with a unit that people use as Go writes it.
func durationMeant(number, unit string) string {
	switch unit {
	case "", "s", "sec", "secs", "second", "seconds":
		return number + "s"
	case "ms", "msec", "millis", "milliseconds":
		return number + "ms"
	case "m", "min", "mins", "minute", "minutes":
		return number + "m"
	case "h", "hr", "hrs", "hour", "hours":
		return number + "h"
	case "d", "day", "days":
		if days, err := strconv.ParseFloat(number, 64); err == nil && days < 36500 {
			return strconv.FormatFloat(days*24, 'f', -1, 64) + "h"
		}
	}
	return ""
}

// readSize reads what pipeline.ParseSize reads.
func readSize(l literal) (any, *fault) {
	if v, err := pipeline.ParseSize(l.text); err == nil && sizeText.MatchString(l.text) {
		return v, nil
	}
	number := numberUnit.FindStringSubmatch(l.text)
	if number == nil {
		return nil, &fault{l.show() + " is not a size", "write it like 64KiB or 256MiB"}
	}
	suggestion := "write it like 64KiB or 256MiB"
	if meant := sizeMeant(number[1], strings.ToLower(number[2])); meant != "" && !l.loose {
		suggestion = "write " + meant
	}
	if number[2] == "" {
		return nil, &fault{"has no unit", suggestion}
	}
	return nil, &fault{l.show() + " is not a size", suggestion}
}

func sizeMeant(number, unit string) string {
	switch strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i") {
	case "":
		return number + "B"
	case "k":
		return number + "KiB"
	case "m":
		return number + "MiB"
	case "g":
		return number + "GiB"
	case "t":
		return number + "TiB"
	}
	return ""
}
