package check

import "strings"

// fold is a label as it is compared: without regard to case and outer blanks.
func fold(label string) string { return strings.ToLower(strings.TrimSpace(label)) }

// parts are the words of a label between its commas, folded: "tench, Tinca tinca" can be called either.
func parts(label string) []string {
	words := strings.Split(label, ",")
	for i := range words {
		words[i] = fold(words[i])
	}
	return words
}

// classesOf returns the classes that a label means: those called so as a whole, else those of which it is a part.
func classesOf(labels []string, label string) []int {
	var whole, part []int
	for i, l := range labels {
		if fold(l) == fold(label) {
			whole = append(whole, i)
		}
		for _, word := range parts(l) {
			if word == fold(label) {
				part = append(part, i)
				break
			}
		}
	}
	if whole != nil {
		return whole
	}
	return part
}
