package wire

import (
	"context"

	"sightline/pipeline"
)

// into returns the inlet that delivers into a link, and takes a result as safe once it is there.
func into(link *pipeline.ResultLink) *Inlet {
	return &Inlet{Deliver: func(ctx context.Context, m pipeline.Message, taken func()) error {
		if err := link.Send(ctx, m.Result); err != nil {
			return err
		}
		taken()
		return nil
	}}
}

// relay returns the inlet that passes messages on, and takes one as safe once the other side of the
// outbox has acknowledged it.
func relay(to *Outbox) *Inlet { return &Inlet{Deliver: to.Put} }
