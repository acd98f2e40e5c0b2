package catalogue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
)

// remote is a server, which may have the model at one of several paths.
type remote struct {
	entry      Entry
	client     *http.Client
	candidates []*url.URL // the first is asked; when it has nothing it is left out
}

var _ origin = (*remote)(nil)

// name leaves out what may be secret: user, password, query.
func (r *remote) name() string {
	u := r.candidates[0]
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// laterError is a server's wish to be asked later.
type laterError struct {
	error
	after time.Duration
}

var errNotThere = errors.New("is not there")

func (r *remote) open(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
	for {
		body, start, err := r.ask(ctx, offset)
		if !errors.Is(err, errNotThere) || len(r.candidates) == 1 {
			return body, start, err
		}
		r.candidates = r.candidates[1:]
	}
}

func (r *remote) ask(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.candidates[0].String(), nil)
	if err != nil {
		return nil, 0, pipeline.Permanentf("ask %s: %w", r.name(), plain(err))
	}
	request.Header.Set("Accept-Encoding", "identity") // ranges are of the file itself
	request.Header.Set("User-Agent", "sightline")
	if offset > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, 0, r.unanswered(err)
	}
	start, err := r.accept(response, offset)
	if err != nil {
		return nil, 0, errors.Join(err, response.Body.Close())
	}
	return response.Body, start, nil
}

// unanswered is the error of a request that got no answer. A certificate that is refused stays refused.
func (r *remote) unanswered(err error) error {
	err = plain(err)
	if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		err = pipeline.Permanent(refused)
	}
	return fmt.Errorf("ask %s: %w", r.name(), err)
}

// plain takes the address out of an error of net/http: it may carry a signature.
func plain(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		return asked.Err
	}
	return err
}

// accept looks at the head of an answer, and says at which byte of the file its body starts.
func (r *remote) accept(response *http.Response, offset int64) (start int64, err error) {
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return 0, r.length(response.Body, response.ContentLength)
	case code == http.StatusPartialContent && offset > 0:
		start, size, err := contentRange(response.Header.Get("Content-Range"))
		if err != nil || start > offset {
			return 0, pipeline.Permanentf("%s answers with the range %q, not from byte %d on", r.name(), response.Header.Get("Content-Range"), offset)
		}
		return start, r.length(response.Body, size)
	case code == http.StatusNotFound || code == http.StatusGone:
		return 0, pipeline.Permanentf("%s %w (%s)%s", r.name(), errNotThere, response.Status, r.advice())
	case code == http.StatusRequestedRangeNotSatisfiable:
		return 0, pipeline.Permanent(&WrongFileError{r.name(), fmt.Sprintf("no byte %d", offset), fmt.Sprintf("%d bytes", r.entry.Size)})
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return 0, &laterError{fmt.Errorf("%s answers %s", r.name(), response.Status), retryAfter(response.Header.Get("Retry-After"))}
	}
	return 0, pipeline.Permanentf("%s answers %s%s", r.name(), response.Status, r.advice())
}

// length compares what a server says with what the catalogue says, where it says something: a wrong file is refused
// before it comes.
func (r *remote) length(body io.Reader, said int64) error {
	if said < 0 || said == r.entry.Size {
		return nil
	}
	return wrongSize(r.name(), body, said, r.entry.Size)
}

func (r *remote) advice() string {
	return fmt.Sprintf("; fetch %s elsewhere (SHA-256 %s) and name its folder or address with --from", lastOf(r.entry.Zoo), r.entry.SHA256)
}

func lastOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// contentRange reads "bytes 100-199/200" (RFC 9110 §14.4); size is -1 where it is unknown.
func contentRange(text string) (start, size int64, err error) {
	wrong := fmt.Errorf("%q is not a Content-Range", text)
	rest, ok := strings.CutPrefix(text, "bytes ")
	span, total, found := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(span, "-")
	if !ok || !found || !dash {
		return 0, 0, wrong
	}
	from, err := strconv.ParseUint(first, 10, 62)
	to, err2 := strconv.ParseUint(last, 10, 62)
	if err != nil || err2 != nil || to < from {
		return 0, 0, wrong
	}
	if total == "*" {
		return int64(from), -1, nil
	}
	all, err := strconv.ParseUint(total, 10, 62)
	if err != nil || to >= all {
		return 0, 0, wrong
	}
	return int64(from), int64(all), nil
}

// retryAfter reads a number of seconds; dates are taken for none.
func retryAfter(text string) time.Duration {
	seconds, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
