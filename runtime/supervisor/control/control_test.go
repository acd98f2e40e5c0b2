package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightline/runtime/inline"
	"sightline/runtime/supervisor"
)

const dialVariable = "SIGHTLINE_TEST_DIAL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dialVariable); dir != "" {
		_, err := Dial(dir).Version(context.Background())
		fmt.Print(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// open starts a supervisor with one stage and a server, and returns a client.
func open(t *testing.T) (*supervisor.Supervisor, *Client, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ct")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := supervisor.Open(dir, supervisor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := &inline.Driver{Run: func(string) inline.Function {
		return func(ctx context.Context, stop <-chan struct{}) error {
			select {
			case <-stop:
			case <-ctx.Done():
			}
			return nil
		}
	}}
	stage := supervisor.Stage{Name: "gate", Driver: d}
	if _, err := s.Apply(t.Context(), supervisor.Plan{Name: "one", Stages: []supervisor.Stage{stage}}, supervisor.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	listener, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := &Server{Supervisor: s, Version: "sightline test", Apply: func(ctx context.Context, document json.RawMessage, force bool) (supervisor.Report, error) {
		var name string
		if err := json.Unmarshal(document, &name); err != nil {
			return supervisor.Report{}, fmt.Errorf("the document is %s, forced %v", document, force)
		}
		return s.Apply(ctx, supervisor.Plan{Name: name, Stages: []supervisor.Stage{stage}}, supervisor.ApplyOptions{Force: force})
	}}
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c := Dial(dir)
	t.Cleanup(c.Close)
	return s, c, dir
}

func TestAnOperatorSeesAndSteersTheStages(t *testing.T) {
	_, c, _ := open(t)
	ctx := t.Context()
	all, err := c.List(ctx)
	if err != nil || len(all) != 1 || all[0].Stage != "gate" || all[0].Phase != supervisor.Running {
		t.Errorf("%+v (%v)", all, err)
	}
	if v, err := c.Version(ctx); err != nil || v != "sightline test" {
		t.Errorf("%q (%v)", v, err)
	}
	if err := c.Restart(ctx, "gate"); err != nil {
		t.Error(err)
	}
	if after, err := c.List(ctx); err != nil || after[0].Box == all[0].Box || after[0].Last.Reason != "asked" {
		t.Errorf("%+v (%v)", after, err)
	}
	if err := c.StopStage(ctx, "gate"); err != nil {
		t.Error(err)
	}
	if after, err := c.List(ctx); err != nil || after[0].Phase != supervisor.Idle {
		t.Errorf("%+v (%v)", after, err)
	}
	if err := c.StartStage(ctx, "gate"); err != nil {
		t.Error(err)
	}
	if err := c.Restart(ctx, "garage"); err == nil || !strings.HasPrefix(err.Error(), `there is no stage "garage" (there is `) {
		t.Error(err)
	}
	if r, err := c.Apply(ctx, json.RawMessage(`"two"`), false); err != nil || len(r.Stages) != 1 || r.Stages[0].Action != supervisor.Kept {
		t.Errorf("%+v (%v)", r, err)
	}
	if _, err := c.Apply(ctx, json.RawMessage(`{}`), true); err == nil || err.Error() != "the document is {}, forced true" {
		t.Error(err)
	}
	if err := c.Down(ctx); err != nil {
		t.Error(err)
	}
	if after, err := c.List(ctx); err != nil || after[0].Phase != supervisor.Idle {
		t.Errorf("%+v (%v)", after, err)
	}
}

func TestALogIsFollowedOverTheSocket(t *testing.T) {
	s, c, _ := open(t)
	w := s.Log("gate")
	fmt.Fprint(w, "zeroth\nfirst\n")
	enough := errors.New("enough")
	var seen []string
	err := c.Logs(t.Context(), "gate", 1, true, func(line string) error {
		_, text, _ := strings.Cut(line, " ")
		seen = append(seen, text)
		if len(seen) == 3 {
			return enough
		}
		fmt.Fprintf(w, "line %d\n", len(seen))
		return nil
	})
	if err != enough || strings.Join(seen, ",") != "first,line 1,line 2" {
		t.Errorf("%q (%v)", seen, err)
	}
	if err := c.Logs(t.Context(), "garage", 1, false, nil); err == nil || !strings.Contains(err.Error(), "no stage") {
		t.Error(err)
	}
}

func TestWithoutASupervisorThatIsSaid(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(dir).List(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	if _, err := Dial(dir).List(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestAnotherUserIsNotAnswered(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become other users")
	}
	_, _, dir := open(t)
	program := filepath.Join(dir, "dial")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(program, data, 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, SocketName), 0o666)); err != nil {
		t.Fatal(err)
	}
	for uid, answered := range map[uint32]bool{0: true, 65534: false} {
		command := exec.CommandContext(t.Context(), program)
		command.Env = []string{dialVariable + "=" + dir}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := command.CombinedOutput()
		if err != nil || (string(out) == "<nil>") != answered || !answered && !strings.Contains(string(out), "ask the supervisor") {
			t.Errorf("user %d: %s (%v)", uid, out, err)
		}
	}
}

func TestBadRequestsAreAnsweredInWords(t *testing.T) {
	s, _, _ := open(t)
	handler := (&Server{Supervisor: s}).Handler()
	big := `"` + strings.Repeat("a", maxBody) + `"`
	for _, test := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/logs?stage=gate&n=x", "", http.StatusBadRequest, "not a number"},
		{"GET", "/v1/logs?stage=../../etc/passwd&n=1", "", http.StatusUnprocessableEntity, "no stage"},
		{"POST", "/v1/apply", "{}", http.StatusNotImplemented, "no other plan"},
		{"GET", "/v1/down", "", http.StatusMethodNotAllowed, ""},
		{"GET", "/etc/passwd", "", http.StatusNotFound, ""},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s: %d %s", test.method, test.path, w.Code, w.Body)
		}
	}
	handler = (&Server{Supervisor: s, Apply: func(context.Context, json.RawMessage, bool) (supervisor.Report, error) {
		t.Error("applied")
		return supervisor.Report{}, nil
	}}).Handler()
	for _, body := range []string{big, "{", ""} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/apply", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "read the document") {
			t.Errorf("%.20q: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestAnOperatorWhoOnlyConnectsHoldsNobodyUp(t *testing.T) {
	_, c, dir := open(t)
	for range maxConns / 2 {
		conn, err := net.Dial("unix", filepath.Join(dir, SocketName))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.List(ctx); err != nil {
		t.Error(err)
	}
}

func TestNotesAreHandedOn(t *testing.T) {
	for want, notes := range map[string]func() []string{"[]": nil, `["a word"]`: func() []string { return []string{"a word"} }} {
		recorder := httptest.NewRecorder()
		(&Server{Supervisor: &supervisor.Supervisor{}, Notes: notes}).Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/v1/notes", nil))
		if got := strings.TrimSpace(recorder.Body.String()); recorder.Code != http.StatusOK || got != want {
			t.Errorf("notes are %d %s, not %s", recorder.Code, got, want)
		}
	}
}
