package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
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

// syntaxProblem says where YAML itself is wrong: in the first line whose presence makes the parser say what
// it says of the whole. (The parser names the line where the surrounding group begins, if any.)
func syntaxProblem(name string, data []byte, err error) *Problem {
	message := syntaxMessage(err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	good, bad := 0, len(lines) // how many lines do not have the mistake, and do
	for bad-good > 1 {
		middle := (good + bad) / 2
		if syntaxMessage(syntaxError(bytes.Join(lines[:middle], nil))) == message {
			bad = middle
		} else {
			good = middle
		}
	}
	line := string(lines[bad-1])
	rest := strings.TrimLeft(line, " ")
	p := &Problem{File: name, Line: bad, Column: 1 + len(line) - len(rest), Problem: "not YAML: " + message}
	switch {
	case strings.HasPrefix(rest, "\t"):
		p.Suggestion = "indent with spaces, not tabs"
	case strings.HasPrefix(message, "unknown anchor"): // its name may be a password that begins with *
		p.Problem, p.Suggestion = "not YAML: a * refers to an anchor that is not there", "write text that begins with * in quotes"
	default:
		p.Suggestion = syntaxHint(message)
	}
	return p
}

// syntaxHint is what people have usually done where the parser says message; "" where there is no telling.
func syntaxHint(message string) string {
	for _, known := range []struct{ says, hint string }{
		{"did not find expected key", "indent the line like the keys beside it"},
		{"did not find expected ','", "close the bracket, or write a comma between two values"},
		{"found unexpected end of stream", "close the quote that begins here"},
		{"could not find expected ':'", "write key: value, with a space after the colon"},
		{"mapping values are not allowed", "indent the line like the keys beside it, and write text with a colon and a space in quotes"},
		{"found character that cannot start any token", "write text that begins with such a character in quotes"},
		{"invalid leading UTF-8 octet", "save the file as UTF-8"},
	} {
		if strings.HasPrefix(message, known.says) {
			return known.hint
		}
	}
	return ""
}

// syntaxError reads all the documents in data.
func syntaxError(data []byte) error {
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var n yaml.Node
		if err := decoder.Decode(&n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

var syntaxPrefix = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

func syntaxMessage(err error) string {
	if err == nil {
		return ""
	}
	return syntaxPrefix.ReplaceAllString(err.Error(), "")
}
