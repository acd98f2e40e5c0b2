package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parse returns the mapping at the root of the one document in data.
func parse(name string, data []byte) (*yaml.Node, *Problem) {
	whole := func(line, column int, problem, suggestion string) *Problem {
		return &Problem{File: name, Line: line, Column: column, Problem: problem, Suggestion: suggestion}
	}
	if len(data) > maxBytes {
		return nil, whole(0, 0, fmt.Sprintf("has %d bytes, more than the %d allowed", len(data), maxBytes), "")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, whole(1, 1, "is empty", "")
	} else if err != nil {
		return nil, syntaxProblem(name, data, err)
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, whole(second.Line, second.Column, "is a second document in the same file", "remove the line --- and what follows")
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(name, data, err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, whole(max(doc.Line, 1), max(doc.Column, 1), "has no keys at its outermost level", "write key: value lines")
	}
	return doc.Content[0], nil
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxProblem says where YAML itself is wrong. The parser knows the line only; the column is that of
// the line's first character, or of the tab that is usually the cause.
func syntaxProblem(name string, data []byte, err error) *Problem {
	match := syntaxLine.FindStringSubmatch(err.Error())
	p := &Problem{File: name, Problem: "not YAML: " + err.Error()}
	if match == nil {
		return p
	}
	p.Problem = "not YAML: " + strings.TrimPrefix(err.Error(), match[0])
	number, _ := strconv.Atoi(match[1])
	if number < 1 {
		return p
	}
	lines := strings.Split(string(data), "\n")
	p.Line, p.Column = min(number, len(lines)), 1
	if tabbed := tabLine(lines, p.Line); tabbed > 0 {
		p.Line, p.Column = tabbed, strings.IndexByte(lines[tabbed-1], '\t')+1
		p.Suggestion = "indent with spaces, not tabs"
		return p
	}
	line := lines[p.Line-1]
	p.Column += len(line) - len(strings.TrimLeft(line, " "))
	return p
}

// tabLine returns the line at or next to the given one that has a tab in its indentation, or 0.
func tabLine(lines []string, near int) int {
	for _, n := range []int{near, near + 1, near - 1} {
		if n < 1 || n > len(lines) {
			continue
		}
		if strings.HasPrefix(strings.TrimLeft(lines[n-1], " "), "\t") {
			return n
		}
	}
	return 0
}
