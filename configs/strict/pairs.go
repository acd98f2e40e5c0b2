package strict

import (
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// plainKey is a key that a path shows without quotes.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// pair is one key of a mapping with its value.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs returns the keys of a mapping in their order, each once: first its own, then those that <<
// brings in and that it does not have itself.
func (w *walker) pairs(path string, n *yaml.Node) []pair {
	var own, merged []pair
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content) && w.count(path, n); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			merged = append(merged, w.merge(path, key, value)...)
		case key.Kind != yaml.ScalarNode:
			w.problem(path, key, "has a key that is not a single word", "")
		case lines[key.Value] != 0:
			w.problem(Join(path, key.Value), key, "is there twice", fmt.Sprintf("first on line %d", lines[key.Value]))
		default:
			lines[key.Value] = key.Line
			own = append(own, pair{key.Value, key, value})
		}
	}
	for _, p := range merged {
		if lines[p.name] == 0 {
			lines[p.name] = p.key.Line
			own = append(own, p)
		}
	}
	return own
}

// merge returns the keys that a << brings in: of one mapping, or of a list of them, earlier ones
// first.
func (w *walker) merge(path string, key, n *yaml.Node) []pair {
	var out []pair
	w.follow(path, n, func(n *yaml.Node) {
		switch n.Kind {
		case yaml.MappingNode:
			out = w.pairs(path, n)
		case yaml.SequenceNode:
			for _, item := range n.Content {
				if item.Kind == yaml.SequenceNode || !w.count(path, item) {
					break
				}
				out = append(out, w.merge(path, key, item)...)
			}
		default:
			w.problem(path, key, "<< takes only *aliases of groups of keys", "")
		}
	})
	return out
}

// plain writes text as it would stand in a YAML list.
func (l literal) plain() string {
	if l.tag == "!!float" || plainKey.MatchString(l.text) {
		return l.text
	}
	return strconv.Quote(l.text)
}
