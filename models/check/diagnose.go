package check

import (
	"cmp"
	"context"
	"math"
	"slices"

	"sightline/models"
)

// diagnosis looks for what is likely wrong with a card.
type diagnosis struct {
	*Checker
	pictures []Picture
	wants    [][]int // classes that are expected of each picture; nil: nothing is
	base     *view
}

// verdict is how well an alternative does.
type verdict struct {
	judged, right int     // pictures of which something is expected, and those where it comes first
	share         float64 // mean share of the expected classes, or of the best class where nothing is expected
}

// alternative is one way in which the card may be meant.
type alternative struct {
	input input
	shift int // how much later the model has a class than the labels say
	verdict
}

// What counts in shares.
const (
	unsure     = 0.5  // below it a card is doubted though nothing tells that it is wrong
	surer      = 0.15 // by so much an alternative is better when as many pictures are right
	muchSurer  = 0.3  // and when nothing tells what is right
	simplicity = 0.15 // by so much it must be better for every mistake that it supposes
)

func (d *diagnosis) run(ctx context.Context) ([]Finding, error) {
	findings := d.activation()
	own := d.judge(d.base, 0)
	if own.right == own.judged && own.share >= unsure {
		return findings, nil
	}
	all, err := d.alternatives(ctx)
	if err != nil {
		return findings, err
	}
	if best, ok := d.choose(all, own); ok {
		findings = append(findings, d.describe(best, own))
	}
	return findings, nil
}

// alternatives tries every input that the card may have been confused with, each with the labels as they are and with
// the labels one earlier and one later. The first is the card itself.
func (d *diagnosis) alternatives(ctx context.Context) ([]alternative, error) {
	fit, err := d.File.Fit(d.Card, "")
	if err != nil {
		return nil, err
	}
	inputs := suspects(d.Card, fit.Input)
	var list []alternative
	for i, in := range inputs {
		if d.Progress != nil {
			d.Progress(i, len(inputs), in.String())
		}
		seen, err := d.look(ctx, i, in)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue // the model does not take it: it is not what was meant
		}
		for _, shift := range []int{0, 1, -1} {
			list = append(list, alternative{in, shift, d.judge(seen, shift)})
		}
	}
	return list, nil
}

// look runs the model with an input; the card's own was run already.
func (d *diagnosis) look(ctx context.Context, i int, in input) (*view, error) {
	if i == 0 {
		return d.base, nil
	}
	card := in.on(*d.Card)
	card.Activation = models.None
	return d.scores(ctx, card, d.pictures)
}

// judge compares what a model says with what is expected; shift is how much later the model has a class than its labels.
func (d *diagnosis) judge(v *view, shift int) verdict {
	var sum verdict
	total, counted := 0.0, 0
	anything := slices.ContainsFunc(d.wants, func(w []int) bool { return w != nil })
	for i, want := range d.wants {
		if anything && want == nil {
			continue
		}
		counted++
		if want != nil {
			sum.judged++
		}
		if v.scores[i] == nil {
			continue
		}
		shares := sharesOf(v.scores[i])
		top := best(shares)
		if want == nil {
			total += shares[top]
			continue
		}
		if slices.Contains(want, top-shift) {
			sum.right++
		}
		for _, class := range want {
			if at := class + shift; at >= 0 && at < len(shares) {
				total += shares[at]
			}
		}
	}
	sum.share = total / float64(max(counted, 1))
	return sum
}

// choose takes the alternative that does best: most pictures right, then the largest shares, of which every mistake that
// it supposes takes some away; of equals the one that was tried first. ok is false when the card itself does about as
// well.
func (d *diagnosis) choose(all []alternative, own verdict) (alternative, bool) {
	now := inputOf(d.Card)
	worth := func(a alternative) float64 {
		supposed, _ := compare(now, a.input)
		if a.shift != 0 {
			supposed = append(supposed, LabelsShifted)
		}
		return a.share - simplicity*float64(len(supposed))
	}
	chosen, found := alternative{}, false
	for _, a := range all {
		if a.shift != 0 && a.judged == 0 {
			continue
		}
		if !found || cmp.Or(cmp.Compare(a.right, chosen.right), cmp.Compare(worth(a), worth(chosen))) > 0 {
			chosen, found = a, true
		}
	}
	needed := surer
	if own.judged == 0 {
		needed = muchSurer
	}
	return chosen, found && (chosen.right > own.right || chosen.share >= own.share+needed)
}

// sharesOf are scores as shares of 1, whatever their activation is: only for comparing.
func sharesOf(scores []float32) []float64 {
	shares := make([]float64, len(scores))
	if isShares(scores) {
		for i, x := range scores {
			shares[i] = float64(x)
		}
		return shares
	}
	most, sum := float64(slices.Max(scores)), 0.0
	for i, x := range scores {
		shares[i] = math.Exp(float64(x) - most)
		sum += shares[i]
	}
	for i := range shares {
		shares[i] /= sum
	}
	return shares
}

// isShares tells whether scores went through a softmax; quantised ones add up to 1 only about.
func isShares(scores []float32) bool {
	sum := 0.0
	for _, x := range scores {
		if x < 0 || x > 1.001 {
			return false
		}
		sum += float64(x)
	}
	return sum > 0.9 && sum < 1.1
}

func best(shares []float64) int {
	at := 0
	for i, x := range shares {
		if x > shares[at] {
			at = i
		}
	}
	return at
}
