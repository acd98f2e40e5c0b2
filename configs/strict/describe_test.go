package strict_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"sightline/configs/strict"
	"sightline/configs/strict/stricttest"
	"sightline/pipeline"
)

func TestTheSchemaSaysWhatTheDefinitionSays(t *testing.T) {
	text, err := strict.Schema(reflect.TypeFor[root](), "s.json", "test")
	if err != nil {
		t.Fatal(err)
	}
	check := stricttest.Editor(t, text)
	if err := check([]byte(full)); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"unknown key": rtsp + "    limts: {}\n", "name": strings.Replace(rtsp, "gate", "Gate", 1), "two kinds": rtsp + "    file: {path: a}\n",
		"no kind": head + "    tags: []\n", "required": "version: 1\n", "empty": "version: 1\nsources: {}\n", "minimum": strings.Replace(rtsp, "1", "0", 1),
		"maximum": strings.Replace(rtsp, "1", "2", 1), "unit": rtsp + "      timeout: 5\n", "unit of days": rtsp + "      timeout: 5d\n",
		"size": rtsp + "    limits: {max_bytes: 5M}\n", "enum": rtsp + "      transport: x\n", "secret": rtsp + "      password: x\n",
		"length": rtsp + "    regions: {a: [0]}\n", "unsigned": rtsp + "    limits: {small: -1}\n", "boolean": rtsp + "    limits: {loop: 1}\n",
	} {
		if check([]byte(text)) == nil {
			t.Errorf("%s: passes the schema", name)
		}
	}
}

func TestTheReferenceListsEveryKey(t *testing.T) {
	byPath := map[string]strict.Entry{}
	for _, e := range strict.Reference(reflect.TypeFor[root]()) {
		byPath[e.Path] = e
	}
	for path, want := range map[string]strict.Entry{
		"version":                       {Kind: "whole number", Required: true, Range: "1 to 1"},
		"sources":                       {Kind: "map by name: group", Required: true},
		"sources.<name>.rtsp.transport": {Kind: "auto | tcp | udp", Default: "auto"},
		"sources.<name>.rtsp.timeout":   {Kind: "duration", Default: "5s", Range: "100ms to 1h"},
		"sources.<name>.limits.loop":    {Kind: "true or false"},
		"sources.<name>.tags":           {Kind: "list: day | night"},
		"sources.<name>.regions":        {Kind: "map by name: list: number"},
		"sources.<name>.address":        {Kind: "text", Example: "192.0.2.1"},
	} {
		want.Path = path
		if byPath[path] != want {
			t.Errorf("got  %+v\nwant %+v", byPath[path], want)
		}
	}
}

func TestFormatWritesWhatDecodeReads(t *testing.T) {
	r, _ := decode(t, full)
	for _, s := range r.Sources {
		if s.RTSP != nil {
			s.RTSP.Password = pipeline.Secret{} // <redacted> is no variable
		}
	}
	text, err := strict.Format(r)
	if err != nil {
		t.Fatal(err)
	}
	var again root
	if _, problems := strict.Decode("f", []byte(text), &again, strict.Options{}); len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, text)
	}
	if !reflect.DeepEqual(r, again) {
		t.Errorf("got  %+v\nwant %+v", again, r)
	}
}

func TestFormatShowsNoSecret(t *testing.T) {
	text, err := strict.Format(camera{URL: "a", Password: pipeline.NewSecret("s3cr3t"), Timeout: time.Second})
	if err != nil || !strings.Contains(text, "password: <redacted>\n") || !strings.Contains(text, "timeout: 1s\n") {
		t.Errorf("%s %v", text, err)
	}
}

func TestWrongDefinitionsPanic(t *testing.T) {
	for name, do := range map[string]func(){
		"not a pointer": func() { strict.Decode("f", nil, root{}, opts) },
		"no key": func() {
			strict.Decode("f", []byte("a: 1"), &struct{ A int }{}, opts)
		},
		"a default out of bounds": func() {
			strict.Decode("f", []byte("b: 1"), &struct {
				A int `mapstructure:"a" default:"9" max:"5"`
			}{}, opts)
		},
		"a type that is not supported": func() {
			strict.Decode("f", []byte("a: 1"), &struct {
				A any `mapstructure:"a"`
			}{}, opts)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			do()
		})
	}
}
