package closure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func small() *Manifest {
	return &Manifest{Version: Version, Platform: "linux/amd64", Files: []File{
		{Path: "/lib/liba.so", Kind: Opened, Link: "../opt/liba.so.1"},
		{Path: "/opt/liba.so.1", Kind: Opened, Size: 1, SHA256: Sum([]byte("a"))},
		{Path: "/stage", Kind: Program, Executable: true, Size: 1, SHA256: Sum([]byte("s"))},
	}}
}

// badManifests are refused, with a word of the reason.
func badManifests() map[string]*Manifest {
	bad := map[string]*Manifest{}
	change := func(reason string, how func(*Manifest)) {
		m := small()
		how(m)
		bad[reason] = m
	}
	change("manifest of version 2", func(m *Manifest) { m.Version = 2 })
	change(`platform "windows/amd64"`, func(m *Manifest) { m.Platform = "windows/amd64" })
	change("no program", func(m *Manifest) { m.Files[2].Executable = false })
	change("no interpreter", func(m *Manifest) { m.Interpreter = "/lib/liba.so" })
	change("are not sorted", func(m *Manifest) { m.Files[0], m.Files[2] = m.Files[2], m.Files[0] })
	change("there twice", func(m *Manifest) { m.Files[0] = m.Files[1] })
	change(`"/a/../../etc/x": is not a clean`, func(m *Manifest) { m.Files[1].Path = "/a/../../etc/x" })
	change(`"etc/x": is not a clean`, func(m *Manifest) { m.Files[1].Path = "etc/x" })
	change(`"/opt/": is not a clean`, func(m *Manifest) { m.Files[1].Path = "/opt/" })
	change("which the system owns", func(m *Manifest) { m.Files[1].Path = "/dev/mem" })
	change("not printable", func(m *Manifest) { m.Files[1].Path = "/opt/a\nb" })
	change("more than 255", func(m *Manifest) { m.Files[1].Path = "/opt/" + strings.Repeat("a", 256) })
	change(`is below "/stage"`, func(m *Manifest) { m.Files[1].Path = "/stage/x" })
	change(`link "/opt/liba.so.1" leads out`, func(m *Manifest) { m.Files[0].Link = "/opt/liba.so.1" })
	change(`link "../../opt/liba.so.1" leads out`, func(m *Manifest) { m.Files[0].Link = "../../opt/liba.so.1" })
	change("leads to no file", func(m *Manifest) { m.Files[0].Link = "other" })
	change("is a link and yet a file", func(m *Manifest) { m.Files[0].SHA256 = Sum(nil) })
	change("is not a SHA-256", func(m *Manifest) { m.Files[1].SHA256 = "../../../etc/passwd" })
	change("size -1", func(m *Manifest) { m.Files[1].Size = -1 })
	change(`kind "node"`, func(m *Manifest) { m.Files[1].Kind = "node" })
	change("rpath of", func(m *Manifest) { m.RPath = []string{"/none"} })
	return bad
}

func TestBadManifestsAreRefused(t *testing.T) {
	if err := small().Check(); err != nil {
		t.Fatal(err)
	}
	for reason, m := range badManifests() {
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
		dir := filepath.Join(t.TempDir(), "tree")
		if err := Materialise(m, &Closure{}, dir); err == nil {
			t.Errorf("%s: laid out", reason)
		}
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s: something is there", reason)
		}
	}
}

func TestAManifestHasOneFormOnly(t *testing.T) {
	data, err := small().Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	if digest(t, again) != Sum(data) {
		t.Error("another digest after reading")
	}
	text := string(data)
	for name, other := range map[string]string{
		"a blank more":     text + " ",
		"a second":         text + text,
		"an unknown field": strings.Replace(text, `"version"`, `"extra": 1, "version"`, 1),
		"another case":     strings.Replace(text, `"version"`, `"Version"`, 1),
		"twice a field":    strings.Replace(text, `"version": 1`, `"version": 1, "version": 1`, 1),
		"nothing":          "",
		"null":             "null\n",
		"cut":              text[:len(text)/2],
	} {
		if _, err := ParseManifest([]byte(other)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestCommandsAreThoseOfTheLoader(t *testing.T) {
	for _, c := range []struct {
		m    Manifest
		want string
	}{
		{Manifest{}, "/r/stage"},
		{Manifest{Interpreter: "/lib64/ld-linux-x86-64.so.2"}, "/r/lib64/ld-linux-x86-64.so.2 --library-path /r/lib --inhibit-cache /r/stage"},
		{Manifest{Interpreter: "/lib/ld-linux-aarch64.so.1", RPath: []string{"/lib/a", "/stage"}},
			"/r/lib/ld-linux-aarch64.so.1 --library-path /r/lib --inhibit-cache --inhibit-rpath :/r/lib/a:/r/stage /r/stage"},
		{Manifest{Interpreter: "/lib/ld-musl-x86_64.so.1", RPath: []string{"/stage"}}, "/r/lib/ld-musl-x86_64.so.1 --library-path /r/lib /r/stage"},
	} {
		if got := strings.Join(c.m.Command("/r"), " "); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	data, err := small().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("null\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			return
		}
		if again, err := m.Encode(); err != nil || string(again) != string(data) {
			t.Errorf("%q came back as %q, %v", data, again, err)
		}
		for _, file := range m.Files {
			if at := filepath.Join("/root", file.Path); !strings.HasPrefix(at, "/root/") {
				t.Errorf("%q leads out", file.Path)
			}
		}
	})
}
