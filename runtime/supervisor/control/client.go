package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sightline/runtime/supervisor"
)

// ErrNotRunning is that no supervisor answers in a state folder.
var ErrNotRunning = errors.New("no supervisor is running")

// Client talks with the supervisor of a state folder.
type Client struct {
	dir  string
	http http.Client
}

// Dial returns a client for the supervisor of the state folder dir. It connects at the first call.
func Dial(dir string) *Client {
	path := filepath.Join(dir, SocketName)
	return &Client{dir: dir, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// Close ends the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call asks and returns the body of a good answer, which the caller closes.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w in state folder %q", ErrNotRunning, c.dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("ask the supervisor of state folder %q: only its own user and root may: %w", c.dir, err)
	case err != nil:
		return nil, fmt.Errorf("ask the supervisor of state folder %q: %w", c.dir, err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return nil, errors.New(strings.TrimSpace(string(text)))
}

func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body io.Reader, value any) error {
	answer, err := c.call(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(value); err != nil {
		return fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return nil
}

// List returns how the stages do, in the order of starting.
func (c *Client) List(ctx context.Context) (all []supervisor.State, err error) {
	return all, c.ask(ctx, http.MethodGet, "/v1/stages", nil, nil, &all)
}

// Version returns that of the supervisor's program.
func (c *Client) Version(ctx context.Context) (version string, err error) {
	return version, c.ask(ctx, http.MethodGet, "/v1/version", nil, nil, &version)
}

// Notes returns what there is to know besides the stages.
func (c *Client) Notes(ctx context.Context) (notes []string, err error) {
	return notes, c.ask(ctx, http.MethodGet, "/v1/notes", nil, nil, &notes)
}

func (c *Client) post(ctx context.Context, path, stage string) error {
	var nothing struct{}
	return c.ask(ctx, http.MethodPost, path, url.Values{"stage": {stage}}, nil, &nothing)
}

// Restart stops a stage and starts it again.
func (c *Client) Restart(ctx context.Context, stage string) error {
	return c.post(ctx, "/v1/restart", stage)
}

// StopStage stops a stage, which stays stopped until StartStage.
func (c *Client) StopStage(ctx context.Context, stage string) error {
	return c.post(ctx, "/v1/stop", stage)
}

// StartStage starts a stage that was stopped.
func (c *Client) StartStage(ctx context.Context, stage string) error {
	return c.post(ctx, "/v1/start", stage)
}

// Down stops everything.
func (c *Client) Down(ctx context.Context) error { return c.post(ctx, "/v1/down", "") }

// Apply has another plan run, of which document is what the supervisor's caller makes it from.
func (c *Client) Apply(ctx context.Context, document json.RawMessage, force bool) (r supervisor.Report, err error) {
	return r, c.ask(ctx, http.MethodPost, "/v1/apply", url.Values{"force": {strconv.FormatBool(force)}}, bytes.NewReader(document), &r)
}

// Logs hands the last n lines of a stage's log to take, and then, if follow is set, each new one,
// until ctx ends or take returns an error.
func (c *Client) Logs(ctx context.Context, stage string, n int, follow bool, take func(line string) error) error {
	query := url.Values{"stage": {stage}, "n": {strconv.Itoa(n)}, "follow": {strconv.FormatBool(follow)}}
	answer, err := c.call(ctx, http.MethodGet, "/v1/logs", query, nil)
	if err != nil && ctx.Err() != nil {
		return nil // it was to end
	}
	if err != nil {
		return err
	}
	defer answer.Close()
	lines := bufio.NewReader(answer)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if err := take(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF, err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("read the log of stage %q: %w", stage, err)
		}
	}
}
