package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLabelsBytes = 16 << 20
	maxLabels      = 1 << 20
	maxLabelBytes  = 1024
)

// ParseLabels reads a file of labels. Its form is seen from its text:
//
//	tench, Tinca tinca                    one a line, in the order of the classes
//	n01440764 tench, Tinca tinca          the same with WordNet synset ids, which are left out
//	0,tench, Tinca tinca                  class index, comma, label; every index once
//	{"0": "tench, Tinca tinca", …}        JSON by class index
//	["tench, Tinca tinca", …]             JSON in the order of the classes
func ParseLabels(text []byte) ([]string, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return nil, errors.New("labels are not UTF-8")
	}
	labels, err := parseLabels(text)
	if err != nil {
		return nil, err
	}
	return labels, checkLabels(labels)
}

func parseLabels(text []byte) ([]string, error) {
	switch trimmed := bytes.TrimSpace(text); {
	case len(trimmed) == 0:
		return nil, errors.New("no labels in the file")
	case trimmed[0] == '{':
		var byIndex map[string]string
		if err := json.Unmarshal(trimmed, &byIndex); err != nil {
			return nil, fmt.Errorf("labels as JSON: %w", err)
		}
		return labelsByIndex(byIndex)
	case trimmed[0] == '[':
		var list []string
		if err := json.Unmarshal(trimmed, &list); err != nil {
			return nil, fmt.Errorf("labels as JSON: %w", err)
		}
		return list, nil
	}
	lines := strings.Split(strings.TrimRightFunc(string(text), unicode.IsSpace), "\n")
	if len(lines) > maxLabels {
		return nil, fmt.Errorf("more than %d labels", maxLabels)
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return labelsByLine(lines)
}

func labelsByLine(lines []string) ([]string, error) {
	if rests := cutAll(lines, regexp.MustCompile(`^n\d{8}\s+(.*)$`)); rests != nil {
		return rests, nil
	}
	index := regexp.MustCompile(`^(\d{1,7})\s*,(.*)$`)
	if cutAll(lines, index) == nil {
		return lines, nil
	}
	byIndex := make(map[string]string, len(lines))
	for i, line := range lines {
		part := index.FindStringSubmatch(line)
		if _, twice := byIndex[part[1]]; twice {
			return nil, fmt.Errorf("line %d: index %s is given twice", i+1, part[1])
		}
		byIndex[part[1]] = strings.TrimSpace(part[2])
	}
	return labelsByIndex(byIndex)
}

// cutAll returns what the pattern's group holds in every line, nil when a line does not match.
func cutAll(lines []string, pattern *regexp.Regexp) []string {
	rests := make([]string, len(lines))
	for i, line := range lines {
		part := pattern.FindStringSubmatch(line)
		if part == nil {
			return nil
		}
		rests[i] = part[1]
	}
	return rests
}

func labelsByIndex(byIndex map[string]string) ([]string, error) {
	labels := make([]string, len(byIndex))
	seen := make([]bool, len(byIndex))
	for key, label := range byIndex {
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(labels) || seen[i] {
			return nil, fmt.Errorf("index %q does not fit: %d labels have the indices 0 to %d, each once", key, len(labels), len(labels)-1)
		}
		labels[i], seen[i] = label, true
	}
	return labels, nil
}

func checkLabels(labels []string) error {
	if len(labels) == 0 {
		return errors.New("no labels")
	}
	if len(labels) > maxLabels {
		return fmt.Errorf("more than %d labels", maxLabels)
	}
	for i, label := range labels {
		switch {
		case strings.TrimSpace(label) == "":
			return fmt.Errorf("label of class %d is empty", i)
		case len(label) > maxLabelBytes:
			return fmt.Errorf("label of class %d is longer than %d bytes", i, maxLabelBytes)
		case !utf8.ValidString(label) || strings.ContainsFunc(label, unicode.IsControl):
			return fmt.Errorf("label of class %d has control characters", i)
		}
	}
	return nil
}
