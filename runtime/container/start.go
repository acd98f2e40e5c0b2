package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"sightline/runtime/closure"
	"sightline/runtime/driver"
)

// start makes a box, or leaves nothing behind but the image.
func (e *engine) start(ctx context.Context, spec driver.Spec) (*box, error) {
	id, l, err := e.begin(ctx, spec)
	if err != nil {
		return nil, err
	}
	return e.run(spec, id, l), nil
}

// ready has the engine have the image of a closure in which the box's program is.
func (e *engine) ready(ctx context.Context, spec driver.Spec) (m *closure.Manifest, image, id string, err error) {
	if m, err = spec.Files.Manifest(ctx); err != nil {
		return nil, "", "", err
	}
	if err := checkProgram(m, spec.Program[0]); err != nil {
		return nil, "", "", err
	}
	image, id, err = e.image(ctx, spec.Files)
	return m, image, id, err
}

// begin starts a container for a box.
func (e *engine) begin(ctx context.Context, spec driver.Spec) (id string, l log, err error) {
	u, err := e.userOf(ownUser(spec.ID))
	if err != nil {
		return "", nil, err
	}
	m, image, imageID, err := e.ready(ctx, spec)
	if err != nil {
		return "", nil, err
	}
	if err := admit(spec, u.group); err != nil {
		return "", nil, err
	}
	// It is there before the container is, so that who finds neither knows that none is coming.
	note, err := makeNote(spec.Dir)
	if errors.Is(err, os.ErrExist) {
		return "", nil, fmt.Errorf("a box with this ID exists: %w", err)
	}
	if err != nil {
		return "", nil, err
	}
	id, l, err = e.make(ctx, spec, m, e.settings(spec, imageID, u), image, note)
	if err != nil {
		return "", nil, errors.Join(err, note.Close(), tidy(spec.Dir))
	}
	return id, l, nil
}

func checkProgram(m *closure.Manifest, program string) error {
	for _, f := range m.Files {
		if f.Path == program && f.Executable {
			return nil
		}
	}
	return fmt.Errorf("there is no program %q in the closure", program)
}

// make makes a container and starts it. Its calls are not given up half-way, as nobody could say then
// what they leave behind.
func (e *engine) make(ctx context.Context, spec driver.Spec, m *closure.Manifest, settings client.ContainerCreateOptions, image string, note *os.File) (id string, l log, err error) {
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	if id, err = e.create(settings); err != nil {
		return "", nil, err
	}
	got, err := e.inspect(ctx, id)
	if err == nil {
		err = confirm(got, settings)
	}
	if err == nil {
		err = e.verify(ctx, id, image, m)
	}
	if err == nil {
		l, err = e.logOf(spec, got, note)
	}
	if err == nil {
		err = e.launch(ctx, id, settings.Name)
	}
	if err != nil {
		return "", nil, errors.Join(err, e.clear(id))
	}
	return id, l, nil
}

// clear removes a container that was not started as it should have been. When the engine can't be asked
// for too long, that goes on behind the caller's back, until it can.
func (e *engine) clear(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), leftTime)
	defer cancel()
	err := e.remove(ctx, id)
	if ctx.Err() != nil {
		go func() { _ = e.remove(context.Background(), id) }() // was told once
	}
	return err
}

// launch starts a container that is what it was to be.
func (e *engine) launch(ctx context.Context, id, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.call(context.WithoutCancel(ctx), func(ctx context.Context, api *client.Client) error {
		if _, err := api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
			return fmt.Errorf("start container %q: %w", name, err)
		}
		return nil
	})
}

// create makes a container.
func (e *engine) create(settings client.ContainerCreateOptions) (id string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	err = e.long(ctx, func(ctx context.Context, api *client.Client) error {
		made, err := api.ContainerCreate(ctx, settings)
		id = made.ID
		return err
	})
	switch {
	case errdefs.IsConflict(err), err != nil && strings.Contains(err.Error(), "already in use"): // as Podman says it
		return "", fmt.Errorf("a box with this ID exists, or something else is called %q: %w", settings.Name, err)
	case err != nil && !said(err): // it may be there all the same
		return "", errors.Join(fmt.Errorf("make container %q: %w", settings.Name, err), e.removeOurs(settings.Config.Labels))
	case err != nil:
		return "", fmt.Errorf("make container %q: %w", settings.Name, err)
	}
	return id, nil
}

// removeOurs removes the container with these labels, if there is one and the engine can be asked.
func (e *engine) removeOurs(labels map[string]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), leftTime)
	defer cancel()
	got, err := e.inspect(ctx, nameOf(labels[LabelBox]))
	if err != nil || !isOurs(got, labels[LabelBox], labels[LabelDir]) {
		return nil // why it can't be asked is told already; Recover will find it
	}
	return e.clear(got.ID)
}

func isOurs(c container.InspectResponse, id, dir string) bool {
	return c.Config != nil && c.Config.Labels[LabelBox] == id && c.Config.Labels[LabelDir] == dir
}

// inspect asks for a container by name or ID.
func (e *engine) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	var got client.ContainerInspectResult
	err := e.call(ctx, func(ctx context.Context, api *client.Client) (err error) {
		got, err = api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		return err
	})
	if err == nil && got.Container.State == nil {
		err = fmt.Errorf("the engine doesn't say how container %q is", id)
	}
	return got.Container, err
}

// admit lets a group through the folder of a box to its socket, to nothing else.
func admit(spec driver.Spec, group int) error {
	if group < 0 {
		return nil
	}
	if err := os.Chown(spec.Dir, -1, group); err != nil {
		return fmt.Errorf("let the box to its wire: %w", err)
	}
	if err := os.Chmod(spec.Dir, 0o710); err != nil {
		return fmt.Errorf("let the box to its wire: %w", err)
	}
	if err := os.Lchown(spec.Socket, -1, group); err != nil {
		return fmt.Errorf("let the box to its wire: %w", err)
	}
	return os.Chmod(spec.Socket, 0o660)
}
