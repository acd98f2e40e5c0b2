package program_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sightline/cmd/program"
	"sightline/models"
	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sources"
)

// fill sets everything in a configuration to something, files to what is there.
func fill(v reflect.Value, file string) {
	switch {
	case v.Type() == reflect.TypeFor[pipeline.Secret]():
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), file)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), file)
			if strings.HasSuffix(v.Type().Field(i).Name, "File") && v.Field(i).Kind() == reflect.String {
				v.Field(i).SetString(file)
			}
		}
	case v.Kind() == reflect.String:
		v.SetString("text")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(7)
	case v.CanFloat():
		v.SetFloat(0.25)
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), file)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), file)
		fill(v.Index(1), file)
	case v.Kind() == reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element, file)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("left"), element)
	}
}

func TestASectionComesBackAsItWas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("what is in the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	var source, backSource sources.Config
	var model, backModel models.Config
	var sink, backSink sinks.Config
	for _, test := range []struct {
		config, back any
		encode       func() (json.RawMessage, map[string]pipeline.Secret, error)
		files        bool
	}{
		{&source, &backSource, func() (json.RawMessage, map[string]pipeline.Secret, error) { return program.Encoder{}.Source(source) }, true},
		{&model, &backModel, func() (json.RawMessage, map[string]pipeline.Secret, error) { return program.Encoder{}.Model(model) }, false},
		{&sink, &backSink, func() (json.RawMessage, map[string]pipeline.Secret, error) { return program.Encoder{}.Sink(sink) }, true},
	} {
		fill(reflect.ValueOf(test.config).Elem(), file)
		section, secrets, err := test.encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := program.DecodeSection(section, test.back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(test.config, test.back) {
			t.Errorf("%+v became %+v", test.config, test.back)
		}
		if strings.Contains(string(section), "what is in the file") {
			t.Errorf("the section has a secret in it: %s", section)
		}
		if !test.files {
			continue
		}
		if data, err := program.Reader(secrets)(file); err != nil || string(data) != "what is in the file" {
			t.Errorf("the stage reads %q, %v", data, err)
		}
		if _, err := program.Reader(secrets)("/etc/hostname"); err == nil {
			t.Error("the stage reads files of the machine")
		}
	}
}

func TestAPasswordIsInNoSection(t *testing.T) {
	secret := pipeline.NewSecret("geheim")
	section, secrets, err := program.Encoder{}.Sink(sinks.Config{MQTT: &sinks.MQTT{URL: "mqtt://192.0.2.1", Username: "u", Password: secret}})
	if err != nil {
		t.Fatal(err)
	}
	var back sinks.Config
	if err := program.DecodeSection(section, &back); err != nil {
		t.Fatal(err)
	}
	data, err := program.Reader(secrets)(back.MQTT.PasswordFile)
	if err != nil || string(data) != "geheim" || !back.MQTT.Password.Empty() || strings.Contains(string(section), "geheim") {
		t.Errorf("%s, %q, %v", section, data, err)
	}
}

func TestTheSecretsOfAWebhookAreInNoSection(t *testing.T) {
	token, key := pipeline.NewSecret("geheimer-token"), pipeline.NewSecret("geheimer-schluessel")
	section, secrets, err := program.Encoder{}.Sink(sinks.Config{HTTP: &sinks.HTTP{URL: "https://192.0.2.1", Token: token, HMAC: sinks.HMAC{Secret: key}}})
	if err != nil || strings.Contains(string(section), "geheim") {
		t.Fatalf("%s, %v", section, err)
	}
	var back sinks.Config
	if err := program.DecodeSection(section, &back); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]pipeline.Secret{back.HTTP.TokenFile: token, back.HTTP.HMAC.SecretFile: key} {
		if data, err := program.Reader(secrets)(file); err != nil || string(data) != want.Reveal() {
			t.Errorf("%q: %q, %v", file, data, err)
		}
	}
}

func TestWhatASectionNamesAndIsNotThereIsSaid(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		_, _, err := program.Encoder{}.Source(sources.Config{RTSP: &sources.RTSP{CAFile: name}, Staleness: time.Second})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzDecodeSection(f *testing.F) {
	for _, text := range []string{"", "{}", `{"MQTT":{"Password":"x"}}`, `{"More":1}`, `{} {}`, `{"Inputs":["a"],"MQTT":{"URL":"mqtt://a","Timeout":5}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c sinks.Config
		if err := program.DecodeSection(text, &c); err != nil {
			return
		}
		if c.MQTT != nil && !c.MQTT.Password.Empty() {
			t.Error("a password came in a section")
		}
	})
}
