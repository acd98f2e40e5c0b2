package join

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/wire"
)

// claim is what a stage in a box may say of itself. Upstream its messages are filed under these names,
// so one that names others says something of stages that are not its own, or of nothing at all.
type claim struct {
	device, stage string
	sources       []string // that its results are of
	regions       []string // "" for the whole picture
	most          int      // predictions in a result; 0: as many as the wire takes
}

func claimOf(device, stage string, c models.Config) claim {
	limit := claim{device: device, stage: stage, sources: c.Inputs, regions: []string{""}}
	if len(c.Regions) > 0 {
		limit.regions = limit.regions[:0]
		for name := range c.Regions {
			limit.regions = append(limit.regions, name)
		}
	}
	if c.TopK != nil {
		limit.most = *c.TopK
	}
	return limit
}

// result says what is wrong with a result of the stage.
func (c claim) result(r *pipeline.Result) error {
	switch {
	case r.Device != c.device:
		return fmt.Errorf("it names device %q", r.Device)
	case r.Stage != c.stage:
		return fmt.Errorf("it names stage %q", r.Stage)
	case !slices.Contains(c.sources, r.Source):
		return fmt.Errorf("it names source %q, which is none of the stage's inputs", r.Source)
	case !slices.Contains(c.regions, r.Region):
		return fmt.Errorf("it names region %q, which the stage does not have", r.Region)
	case c.most > 0 && len(r.Predictions) > c.most:
		return fmt.Errorf("it has %d predictions, more than top_k, %d", len(r.Predictions), c.most)
	}
	return nil
}

// statusClaim says what is wrong with a status of a stage, whose name the wire has checked: upstream it
// is filed under its source.
func statusClaim(kind wire.Kind, stage string, s pipeline.Status) error {
	if s.Source != "" && (kind != wire.Capture || s.Source != stage) {
		return fmt.Errorf("it names source %q", s.Source)
	}
	return nil
}

// complaints are about one stage, at most one a second.
type complaints struct {
	log   *slog.Logger
	stage string

	mu    sync.Mutex
	last  time.Time
	count int
}

func (c *complaints) refused(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if time.Since(c.last) < time.Second {
		return
	}
	c.log.Warn(what+" refused: the stage says what is not its own", "stage", c.stage, "err", pipeline.RedactText(err.Error()), "times", c.count)
	c.last, c.count = time.Now(), 0
}
