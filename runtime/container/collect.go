package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// strayAge is how old a container must be that was made and never started, for nobody to be about to
// start it.
const strayAge = 10 * time.Minute

// Collect removes from the engine the images of closures that keep doesn't want, given the closure's
// digest "sha256:…", and containers of boxes that were made but, as their supervisor was killed, never
// started. Images that containers use stay. What could not be removed is told at the end.
func (d *Driver) Collect(ctx context.Context, keep func(digest string) bool) error {
	e, err := d.engine(ctx)
	if err != nil {
		return fmt.Errorf("collect images: %w", err)
	}
	return errors.Join(e.collectStrays(ctx), e.collectImages(ctx, keep))
}

func (e *engine) collectImages(ctx context.Context, keep func(digest string) bool) error {
	var images client.ImageListResult
	err := e.call(ctx, func(ctx context.Context, api *client.Client) (err error) {
		images, err = api.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", LabelClosure)})
		return err
	})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	var errs []error
	for _, image := range images.Items {
		digest := image.Labels[LabelClosure]
		if digest == "" || keep(digest) {
			continue
		}
		if err := e.removeImage(ctx, image.ID, image.RepoTags); err != nil {
			errs = append(errs, fmt.Errorf("remove image of closure %s: %w", digest, err))
		}
	}
	return errors.Join(errs...)
}

// forget removes the image of one closure.
func (e *engine) forget(ctx context.Context, digest string) error {
	return e.removeImage(context.WithoutCancel(ctx), "", []string{imageOf(digest)})
}

// removeImage removes an image by its names; one that a container uses stays, and keeps its name.
func (e *engine) removeImage(ctx context.Context, id string, names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.Contains(name, "<none>") })
	if len(names) == 0 {
		names = []string{id}
	}
	for _, name := range names {
		err := e.call(ctx, func(ctx context.Context, api *client.Client) error {
			_, err := api.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
			return err
		})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return err
		}
	}
	return nil
}

func (e *engine) collectStrays(ctx context.Context) error {
	var list client.ContainerListResult
	err := e.call(ctx, func(ctx context.Context, api *client.Client) (err error) {
		list, err = api.ContainerList(ctx, client.ContainerListOptions{
			All: true, Filters: client.Filters{}.Add("label", LabelBox).Add("status", string(container.StateCreated)),
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		if c.State == container.StateCreated && time.Since(time.Unix(c.Created, 0)) > strayAge {
			errs = append(errs, e.remove(ctx, c.ID))
		}
	}
	return errors.Join(errs...)
}
