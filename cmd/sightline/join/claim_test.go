package join

import (
	"testing"

	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/wire"
)

func TestAStageSaysWhatIsItsOwn(t *testing.T) {
	two := 2
	whole := claimOf("dev", "scene", models.Config{Inputs: []string{"gate"}, TopK: &two})
	parts := claimOf("dev", "scene", models.Config{Inputs: []string{"gate", "yard"}, Regions: map[string][4]float64{"door": {}}})
	good := pipeline.Result{Device: "dev", Stage: "scene", Source: "gate"}
	for _, c := range []struct {
		name   string
		may    claim
		change func(*pipeline.Result)
		well   bool
	}{
		{"its own", whole, func(*pipeline.Result) {}, true},
		{"as many predictions as it may", whole, func(r *pipeline.Result) { r.Predictions = make([]pipeline.Prediction, two) }, true},
		{"more than that", whole, func(r *pipeline.Result) { r.Predictions = make([]pipeline.Prediction, two+1) }, false},
		{"another device", whole, func(r *pipeline.Result) { r.Device = "" }, false},
		{"another stage", whole, func(r *pipeline.Result) { r.Stage = "gate" }, false},
		{"another source", whole, func(r *pipeline.Result) { r.Source = "yard" }, false},
		{"a region of none", whole, func(r *pipeline.Result) { r.Region = "door" }, false},
		{"its region", parts, func(r *pipeline.Result) { r.Region, r.Source = "door", "yard" }, true},
		{"no region of some", parts, func(*pipeline.Result) {}, false},
	} {
		r := good
		c.change(&r)
		if err := c.may.result(&r); (err == nil) != c.well {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		kind   wire.Kind
		source string
		well   bool
	}{{wire.Capture, "gate", true}, {wire.Capture, "yard", false}, {wire.Classify, "gate", false}, {wire.Publish, "", true}} {
		if err := statusClaim(c.kind, "gate", pipeline.Status{Stage: "gate", Source: c.source}); (err == nil) != c.well {
			t.Errorf("%s of %q: %v", c.kind, c.source, err)
		}
	}
}
