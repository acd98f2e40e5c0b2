package strict

import (
	"fmt"
	"regexp"
	"strings"
)

// VariablePattern is what a value looks like that is wholly one variable.
const VariablePattern = `^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`

var (
	variablePattern = regexp.MustCompile(VariablePattern)
	dollar          = regexp.MustCompile(`\$\$|\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$`)
)

// expansion is a text with its variables replaced.
type expansion struct {
	text     string
	replaced bool   // a variable was in it
	missing  string // the first variable that is not set
	fault    *fault
}

// expand replaces ${NAME} by the variable and $$ by one dollar sign. What a variable holds is not
// expanded again.
func expand(text string, lookup func(string) (string, bool)) expansion {
	e := expansion{text: text}
	if lookup == nil || !strings.Contains(text, "$") {
		return e
	}
	e.text = dollar.ReplaceAllStringFunc(text, func(found string) string {
		switch {
		case found == "$$":
			return "$"
		case found == "$":
			e.fault = &fault{"has a $ that begins no variable", "write ${NAME} for a variable, $$ for a dollar sign"}
			return found
		}
		name := found[2 : len(found)-1]
		value, ok := lookup(name)
		if !ok && e.missing == "" {
			e.missing = name
		}
		e.replaced = true
		return value
	})
	return e
}

func unsetFault(name string) *fault {
	return &fault{fmt.Sprintf("the environment variable %s is not set", name), "set it, or write $$ for a dollar sign"}
}
