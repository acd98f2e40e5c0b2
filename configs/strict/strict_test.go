package strict_test

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/configs/strict"
	"sightline/pipeline"
)

type camera struct {
	URL          string          `mapstructure:"url" required:"true" example:"rtsp://192.0.2.10/a"`
	Password     pipeline.Secret `mapstructure:"password"`
	PasswordFile string          `mapstructure:"password_file"`
	Transport    string          `mapstructure:"transport" enum:"auto,tcp,udp" later:"quic" default:"auto"`
	Timeout      time.Duration   `mapstructure:"timeout" default:"5s" min:"100ms" max:"1h"`
}

type file struct {
	Path string `mapstructure:"path" required:"true"`
}

type limits struct {
	Bytes pipeline.Size `mapstructure:"max_bytes" default:"16MiB" min:"1KiB"`
	Small uint8         `mapstructure:"small" default:"3"`
	Ratio *float64      `mapstructure:"ratio" min:"0" max:"1"`
	Loop  bool          `mapstructure:"loop"`
}

type stage struct {
	RTSP    *camera               `mapstructure:"rtsp"`
	File    *file                 `mapstructure:"file"`
	Limits  limits                `mapstructure:"limits"`
	Regions map[string][4]float64 `mapstructure:"regions"`
	Tags    []string              `mapstructure:"tags" enum:"day,night"`
	Address netip.Addr            `mapstructure:"address" foreign:"host,ip" example:"192.0.2.1"`
	Ignored int                   `mapstructure:"-"`
}

type root struct {
	Version int              `mapstructure:"version" required:"true" min:"1" max:"1"`
	Name    string           `mapstructure:"name"`
	Sources map[string]stage `mapstructure:"sources" required:"true"`
}

func variables(name string) (string, bool) {
	v, ok := map[string]string{
		"PASSWORD": "s3cr3t", "HOST": "cam", "DOLLAR": "${HOST}", "EMPTY": "", "TIME": "7s", "BAD": "s3cr3t-5",
	}[name]
	return v, ok
}

var opts = strict.Options{Lookup: variables, Later: []string{"sources.*.motion"}}

const head = "version: 1\nsources:\n  gate:\n"

var rtsp = head + "    rtsp:\n      url: rtsp://cam\n"

// rejected are documents with what is said of them; the fuzz test begins with them.
var rejected = []struct{ name, yaml, want string }{
	{"an empty file", "", "f:1:1: is empty"},
	{"only a comment", "# nothing\n", "f:1:1: is empty"},
	{"a list at the outermost level", "- a\n", "f:1:1: has no keys at its outermost level (write key: value lines)"},
	{"a second document", rtsp + "---\na: 1\n", "f:6:1: is a second document in the same file (remove the line --- and what follows)"},
	{"a tab as indentation", head + "\trtsp:\n", "f:4:1: not YAML: found character that cannot start any token (indent with spaces, not tabs)"},
	{"a quote that is not closed", "name: \"a\nversion: 1\n", "f:1:1: not YAML: found unexpected end of stream (close the quote that begins here)"},
	{"no space after a colon", "version: 1\nname:gate\nsources: {}\n", "f:2:1: not YAML: could not find expected ':' (write key: value, with a space after the colon)"},
	{"a key below a value", "version: 1\n  name: gate\n",
		"f:2:3: not YAML: mapping values are not allowed in this context (indent the line like the keys beside it, and write text with a colon and a space in quotes)"},
	{"a wrong indentation far from where its group begins", rtsp + "    limits:\n      small: 1\n     loop: true\n    tags: []\n",
		"f:8:6: not YAML: did not find expected key (indent the line like the keys beside it)"},
	{"a list that is not closed, after one that is", rtsp + "    tags: [day,\n      night]\nname: [a\nversion: 1\n",
		"f:8:1: not YAML: did not find expected ',' or ']' (close the bracket, or write a comma between two values)"},
	{"an unknown anchor", "name: *a\n", "f:1:1: not YAML: a * refers to an anchor that is not there (write text that begins with * in quotes)"},
	{"broken UTF-8", "name: \xff\xfe\n", "f:1:1: not YAML: invalid leading UTF-8 octet (save the file as UTF-8)"},
	{"a misspelt key", rtsp + "    limts: {}\n", "f:6:5: sources.gate.limts: unknown key (did you mean limits?)"},
	{"an upper-case key", strings.ToUpper(rtsp[:1]) + rtsp[1:], "f:1:1: Version: unknown key (did you mean version?)\n" +
		"f:1:1: version: is missing (add version: a whole number)"},
	{"a key of an inner group", head + "    file: {path: a}\n    max_bytes: 1MiB\n", "f:5:5: sources.gate.max_bytes: unknown key (it belongs under limits)"},
	{"a key of an outer group", rtsp + "      regions: {}\n", "f:6:7: sources.gate.rtsp.regions: unknown key (it belongs further out: indent it less)"},
	{"a key of another program", rtsp + "    ip: 192.0.2.1\n", "f:6:5: sources.gate.ip: unknown key (it is called address here)"},
	{"a key like no other", rtsp + "zzzzzzz: 1\n", "f:6:1: zzzzzzz: unknown key (known here: version, name, sources)"},
	{"a key of a later version", rtsp + "    motion: {}\n", "f:6:5: sources.gate.motion: is not in this version (remove it)"},
	{"a key twice", rtsp + "version: 1\n", "f:6:1: version: is there twice (first on line 1)"},
	{"a key that is a list", rtsp + "[a]: 1\n", "f:6:1: has a key that is not a single word"},
	{"a required key missing", head + "    rtsp: {transport: tcp}\n", "f:4:5: sources.gate.rtsp.url: is missing (add url: rtsp://192.0.2.10/a)"},
	{"required text empty", head + "    rtsp: {url: ''}\n", "f:4:17: sources.gate.rtsp.url: is empty (for example rtsp://192.0.2.10/a)"},
	{"a required map empty", "version: 1\nsources: {}\n", "f:2:10: sources: is empty (add one)"},
	{"a key without value", rtsp + "    limits:\n", "f:6:5: sources.gate.limits: has no value (write a group of keys, or remove the key)"},
	{"two alternatives", rtsp + "    file: {path: a}\n", "f:3:3: sources.gate: has rtsp and file (keep one of them)"},
	{"no alternative", head + "    tags: [day]\n", "f:3:3: sources.gate: does not say of which kind it is (add rtsp or file)"},
	{"a name in upper case", strings.Replace(rtsp, "gate", "Gate", 1),
		"f:3:3: sources.Gate: is not a name (names are 1 to 63 of a-z 0-9 _ -, beginning with a letter, such as gate)"},
	{"a name with a dot", strings.Replace(rtsp, "gate", "front.gate", 1),
		"f:3:3: sources.\"front.gate\": is not a name (names are 1 to 63 of a-z 0-9 _ -, beginning with a letter, such as front-gate)"},
	{"a name with the delimiter of the loader", strings.Replace(rtsp, "gate", "a::b", 1),
		"f:3:3: sources.\"a::b\": is not a name (names are 1 to 63 of a-z 0-9 _ -, beginning with a letter, such as a--b)"},
	{"text instead of a group", head + "    rtsp: rtsp://cam\n", "f:4:11: sources.gate.rtsp: must be a group of keys, is a single value"},
	{"a list instead of a group", "version: 1\nsources: [gate]\n", "f:2:10: sources: must be a group of names, is a list"},
	{"a single value instead of a list", rtsp + "    tags: day\n", "f:6:11: sources.gate.tags: must be a list, is a single value (write [day])"},
	{"a group instead of text", rtsp + "name: {a: b}\n", "f:6:7: name: must be text, is a group of keys"},
	{"a number instead of text", rtsp + "name: 007\n", `f:6:7: name: must be text, "007" is not (write it in quotes: "007")`},
	{"a quoted number", strings.Replace(rtsp, "1", "'1'", 1), "f:1:10: version: must be a whole number, is text (write it without quotes: 1)"},
	{"a fraction instead of a whole number", strings.Replace(rtsp, "1", "1.5", 1), `f:1:10: version: must be a whole number, is "1.5"`},
	{"a hexadecimal number", strings.Replace(rtsp, "1", "0x1", 1), `f:1:10: version: must be a whole number, is "0x1"`},
	{"a number with a leading zero", rtsp + "    limits: {small: 010}\n", `f:6:21: sources.gate.limits.small: must be a whole number, at least 0, is "010"`},
	{"a duration with a sign", rtsp + "      timeout: +5s\n", `f:6:16: sources.gate.rtsp.timeout: "+5s" is not a duration (write it like 500ms, 5s or 2h)`},
	{"a number too large", strings.Replace(rtsp, "1", "2", 1), "f:1:10: version: must be at most 1"},
	{"a number too small", strings.Replace(rtsp, "1", "0", 1), "f:1:10: version: must be at least 1"},
	{"a byte over 255", rtsp + "    limits: {small: 256}\n", `f:6:21: sources.gate.limits.small: must be a whole number, at least 0, is "256"`},
	{"not a number", rtsp + "    limits: {ratio: .nan}\n", `f:6:21: sources.gate.limits.ratio: must be a number, is ".nan"`},
	{"yes instead of true", rtsp + "    limits: {loop: yes}\n", `f:6:20: sources.gate.limits.loop: must be true or false, is "yes"`},
	{"a duration without unit", rtsp + "      timeout: 5\n", "f:6:16: sources.gate.rtsp.timeout: has no unit (write 5s)"},
	{"zero without unit", rtsp + "      timeout: 0\n", "f:6:16: sources.gate.rtsp.timeout: has no unit (write 0s)"},
	{"a duration in days", rtsp + "      timeout: 3d\n", `f:6:16: sources.gate.rtsp.timeout: "3d" is not a duration (write 72h)`},
	{"a duration in words", rtsp + "      timeout: 5 min\n", `f:6:16: sources.gate.rtsp.timeout: "5 min" is not a duration (write 5m)`},
	{"a negative duration", rtsp + "      timeout: -5s\n", "f:6:16: sources.gate.rtsp.timeout: must not be negative"},
	{"a duration too short", rtsp + "      timeout: 5ms\n", "f:6:16: sources.gate.rtsp.timeout: must be at least 100ms"},
	{"no duration at all", rtsp + "      timeout: soon\n", `f:6:16: sources.gate.rtsp.timeout: "soon" is not a duration (write it like 500ms, 5s or 2h)`},
	{"a size without unit", rtsp + "    limits: {max_bytes: 4096}\n", "f:6:25: sources.gate.limits.max_bytes: has no unit (write 4096B)"},
	{"a size in short", rtsp + "    limits: {max_bytes: 64M}\n", `f:6:25: sources.gate.limits.max_bytes: "64M" is not a size (write 64MiB)`},
	{"a size too small", rtsp + "    limits: {max_bytes: 1B}\n", "f:6:25: sources.gate.limits.max_bytes: must be at least 1KiB"},
	{"a misspelt choice", rtsp + "      transport: tpc\n", `f:6:18: sources.gate.rtsp.transport: "tpc" is not one of auto, tcp, udp (did you mean tcp?)`},
	{"a choice of a later version", rtsp + "      transport: quic\n", `f:6:18: sources.gate.rtsp.transport: "quic" is not in this version (write auto or tcp or udp)`},
	{"a wrong choice in a list", rtsp + "    tags: [day, dusk]\n", `f:6:17: sources.gate.tags[1]: "dusk" is not one of day, night`},
	{"too few values", rtsp + "    regions: {left: [0, 0, 1]}\n", "f:6:21: sources.gate.regions.left: needs 4 values, has 3"},
	{"text that the type refuses", rtsp + "    address: nowhere\n",
		`f:6:14: sources.gate.address: ParseAddr("nowhere"): unable to parse IP (for example 192.0.2.1)`},
	{"a secret in the file", rtsp + "      password: hunter2\n",
		"f:6:17: sources.gate.rtsp.password: is a secret, which does not belong in this file (write password: ${VARIABLE} and set that environment variable, or use password_file)"},
	{"a secret beside a variable", rtsp + "      password: hunter${PASSWORD}\n",
		"f:6:17: sources.gate.rtsp.password: is a secret, which does not belong in this file (write password: ${VARIABLE} and set that environment variable, or use password_file)"},
	{"a secret that is a number", rtsp + "      password: 1234\n",
		"f:6:17: sources.gate.rtsp.password: is a secret, which does not belong in this file (write password: ${VARIABLE} and set that environment variable, or use password_file)"},
	{"a secret from an empty variable", rtsp + "      password: ${EMPTY}\n", "f:6:17: sources.gate.rtsp.password: is empty: its variable holds nothing"},
	{"a variable that is not set", rtsp + "name: a ${NONE}\n", "f:6:7: name: the environment variable NONE is not set (set it, or write $$ for a dollar sign)"},
	{"a variable without braces", rtsp + "name: $HOST\n", "f:6:7: name: has a $ that begins no variable (write ${NAME} for a variable, $$ for a dollar sign)"},
	{"a variable with a default", rtsp + "name: ${HOST:-a}\n", "f:6:7: name: has a $ that begins no variable (write ${NAME} for a variable, $$ for a dollar sign)"},
	{"what a variable holds is not shown", rtsp + "      timeout: ${BAD}\n",
		"f:6:16: sources.gate.rtsp.timeout: the value is not a duration (write it like 500ms, 5s or 2h)"},
	{"an address with a password where none belongs", rtsp + "      timeout: rtsp://me:hunter2@cam\n",
		`f:6:16: sources.gate.rtsp.timeout: "rtsp://cam" is not a duration (write it like 500ms, 5s or 2h)`},
	{"a tag", rtsp + "name: !!str 5\n", "f:6:7: name: begins with !, which makes it a YAML tag (remove the tag, or write text in quotes)"},
	{"an alias of itself", "version: 1\nsources:\n  gate: &g\n    <<: *g\n    file: {path: a}\n",
		"f:4:9: sources.gate: the alias *g contains itself"},
	{"a merge of text", rtsp + "    <<: text\n", "f:6:5: sources.gate: << takes only *aliases of groups of keys"},
	{"all at once, in order", "version: 9\nnme: a\nsources:\n  gate:\n    rtsp: {timeout: 5}\n    tags: [noon]\n",
		"f:1:10: version: must be at most 1\n" +
			"f:2:1: nme: unknown key (did you mean name?)\n" +
			"f:5:5: sources.gate.rtsp.url: is missing (add url: rtsp://192.0.2.10/a)\n" +
			"f:5:21: sources.gate.rtsp.timeout: has no unit (write 5s)\n" +
			`f:6:12: sources.gate.tags[0]: "noon" is not one of day, night`},
}

func TestEveryProblemIsToldWithItsPlace(t *testing.T) {
	for _, c := range rejected {
		t.Run(c.name, func(t *testing.T) {
			var r root
			_, problems := strict.Decode("f", []byte(c.yaml), &r, opts)
			if got := problems.Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if problems.Err() == nil {
				t.Error("no error")
			}
			if !reflect.DeepEqual(r, root{}) {
				t.Errorf("filled in spite of problems: %+v", r)
			}
		})
	}
}

func decode(t *testing.T, yaml string) (root, *strict.Document) {
	t.Helper()
	var r root
	doc, problems := strict.Decode("f", []byte(yaml), &r, opts)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return r, doc
}

const full = `version: 1
name: ${HOST} $${HOST} ${DOLLAR}
sources:
  gate: &gate
    rtsp: {url: "rtsp://${HOST}/a", password: "${PASSWORD}", timeout: "${TIME}"}
    limits: {max_bytes: 1.5 KiB, ratio: 1, loop: true}
    regions: {left: [0, 0, 0.5, 1]}
    tags: [day, night]
    address: 192.0.2.7
  back:
    <<: *gate
    tags: [night]
  shed:
    file: {path: a}
`

func TestAcceptedValuesArriveWithDefaults(t *testing.T) {
	r, doc := decode(t, full)
	gate := r.Sources["gate"]
	one := 1.0
	want := stage{
		RTSP:   &camera{URL: "rtsp://cam/a", Password: pipeline.NewSecret("s3cr3t"), Transport: "auto", Timeout: 7 * time.Second},
		Limits: limits{Bytes: 1536, Small: 3, Ratio: &one, Loop: true}, Regions: map[string][4]float64{"left": {0, 0, 0.5, 1}},
		Tags: []string{"day", "night"}, Address: netip.MustParseAddr("192.0.2.7"),
	}
	if !reflect.DeepEqual(gate, want) {
		t.Errorf("got  %+v\nwant %+v", gate, want)
	}
	if r.Name != "cam ${HOST} ${HOST}" {
		t.Errorf("name %q", r.Name)
	}
	back := r.Sources["back"]
	if back.RTSP.URL != "rtsp://cam/a" || !slices.Equal(back.Tags, []string{"night"}) {
		t.Errorf("merged: %+v", back)
	}
	if shed := r.Sources["shed"]; shed.RTSP != nil || shed.Limits.Bytes != 16<<20 || shed.Regions != nil {
		t.Errorf("defaults: %+v", shed)
	}
	if !doc.Given("sources.gate.rtsp.timeout") || doc.Given("sources.gate.rtsp.transport") {
		t.Error("Given does not tell what stands in the file")
	}
	if got := doc.Written("sources.gate.rtsp.url"); got != "rtsp://${HOST}/a" {
		t.Errorf("written %q", got)
	}
}

func TestWhatWasRightCanBeCheckedInSpiteOfProblems(t *testing.T) {
	doc, problems := strict.Read("f", []byte(rtsp+"      timeout: 5\nname: a\n"), reflect.TypeFor[root](), opts)
	var r root
	if more := doc.Fill(&r); len(problems) != 1 || len(more) > 0 {
		t.Fatal(problems, more)
	}
	if camera := r.Sources["gate"].RTSP; r.Name != "a" || camera.URL != "rtsp://cam" || camera.Timeout != 5*time.Second {
		t.Errorf("%q, %+v", r.Name, camera)
	}
}

func TestARequiredChoiceIsExplainedWhenMissing(t *testing.T) {
	var choice struct {
		Color string `mapstructure:"color" required:"true" enum:"rgb,bgr" doc:"Order of the channels."`
	}
	_, problems := strict.Decode("f", []byte("{}"), &choice, opts)
	if got := problems.Error(); got != "f:1:1: color: is missing (add color: rgb or bgr. Order of the channels)" {
		t.Error(got)
	}
}

func TestANumberInsteadOfAListOfNumbersIsShownAsOne(t *testing.T) {
	var numbers struct {
		Mean []float64 `mapstructure:"mean"`
	}
	_, problems := strict.Decode("f", []byte("mean: 0.5\n"), &numbers, opts)
	if got := problems.Error(); got != "f:1:7: mean: must be a list, is a single value (write [0.5])" {
		t.Error(got)
	}
}

func TestProblemsFoundLaterArePlacedAtTheKeyOrAroundIt(t *testing.T) {
	_, doc := decode(t, full)
	for path, want := range map[string]string{
		"sources.gate.rtsp.timeout":    "f:5:71: ",
		"sources.gate.rtsp.transport":  "f:5:5: ",
		"sources.gate.regions.left[2]": "f:7:28: ",
		"sources.shed":                 "f:13:3: ",
		"sources.none.rtsp.url":        "f:3:1: ",
		"nowhere":                      "f:1:1: ",
	} {
		if got := doc.Problem(path, "p", "s").String(); got != want+path+": p (s)" {
			t.Errorf("got %s, want it at %s", got, want)
		}
	}
}

func TestElsewhereLeavesUnsetVariablesOpen(t *testing.T) {
	o := opts
	o.Elsewhere = true
	var r root
	doc, problems := strict.Decode("f", []byte(head+"    rtsp: {url: 'rtsp://${NONE}', timeout: '${NONE}', password: '${NONE}'}\n"), &r, o)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if !doc.Open("sources.gate.rtsp.url") || doc.Given("sources.gate.rtsp.url") || doc.Open("sources.gate.rtsp.transport") {
		t.Error("Open does not tell which values have no variable")
	}
	if got := r.Sources["gate"].RTSP.Timeout; got != 5*time.Second {
		t.Errorf("timeout %v, want the default", got)
	}
}

func TestWithoutLookupADollarIsADollar(t *testing.T) {
	var r struct {
		Name string `mapstructure:"name"`
	}
	if _, problems := strict.Decode("f", []byte("name: $a ${B} $$\n"), &r, strict.Options{}); len(problems) > 0 || r.Name != "$a ${B} $$" {
		t.Errorf("%q, %v", r.Name, problems)
	}
}

func TestOverridesAreCheckedAndPlacedAtTheirOrigin(t *testing.T) {
	_, doc := decode(t, full)
	if v, problems := doc.Override("version", "1", "$VERSION"); len(problems) > 0 || v != int64(1) {
		t.Errorf("%v, %v", v, problems)
	}
	_, problems := doc.Override("version", "s3cr3t", "$VERSION")
	if got := problems.Error(); got != "$VERSION: version: must be a whole number, is the value" {
		t.Error(got)
	}
	if got := doc.Problem("version", "p", "").String(); got != "$VERSION: version: p" {
		t.Error(got)
	}
}

func TestABombOfAliasesIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nsources:\n  a0: &a0 {file: {path: x}, regions: {r: [0, 0, 1, 1]}}\n")
	b.WriteString("  b0: &b0 {<<: *a0}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "  b%d: &b%d {<<: [*b%d, *b%d]}\n", i, i, i-1, i-1)
	}
	var r root
	_, problems := strict.Decode("f", []byte(b.String()), &r, opts)
	if len(problems) != 1 || !strings.Contains(problems.Error(), "more than 100000 values") {
		t.Errorf("%d problems, the first: %.200s", len(problems), problems.Error())
	}
}

func TestProblemsWithoutEndAreCut(t *testing.T) {
	var r root
	_, problems := strict.Decode("f", []byte(rtsp+strings.Repeat("x: 1\ny: 1\n", 1000)), &r, opts)
	if len(problems) != 101 || !strings.Contains(problems.Error(), "more problems than are told") {
		t.Errorf("%d problems", len(problems))
	}
}

func TestALargeFileIsRefused(t *testing.T) {
	var r root
	_, problems := strict.Decode("f", make([]byte, 1<<20+1), &r, opts)
	if got := problems.Error(); got != "f: has 1048577 bytes, more than the 1048576 allowed" {
		t.Error(got)
	}
}

func TestWarningsAloneAreNoError(t *testing.T) {
	if err := (strict.Problems{{Warning: true}}).Err(); err != nil {
		t.Error(err)
	}
	p := strict.Problem{File: "f", Line: 1, Column: 2, Key: "k", Problem: "p", Warning: true}
	if got := p.String(); got != "f:1:2: k: warning: p" {
		t.Error(got)
	}
}

func TestNearestFindsWhatWasMeant(t *testing.T) {
	for word, want := range map[string]string{
		"gaet": "gate", "Gate": "gate", "garden": "", "bakc": "back", "gate1": "gate", "x": "", "": "",
		strings.Repeat("g", 1000): "",
	} {
		if got := strict.Nearest(word, []string{"back", "gate"}); got != want {
			t.Errorf("%.10s: got %q, want %q", word, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range rejected {
		f.Add([]byte(c.yaml))
	}
	f.Add([]byte(full))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r root
		_, problems := strict.Decode("f", data, &r, opts)
		lines := 2 + strings.Count(string(data), "\n")
		for _, other := range []string{"\r", "\u0085", "\u2028", "\u2029"} { // YAML 1.1 §4.2
			lines += strings.Count(string(data), other)
		}
		for _, p := range problems {
			if p.Line < 0 || p.Line > lines || p.Problem == "" {
				t.Errorf("%#v in a file of %d lines", p, lines)
			}
		}
		if problems.Err() == nil {
			accepted(t, r)
		}
	})
}

// accepted checks what the definition promises of every value that was let through.
func accepted(t *testing.T, r root) {
	if r.Version != 1 || len(r.Sources) == 0 {
		t.Errorf("accepted %+v", r)
	}
	for name, s := range r.Sources {
		if (s.RTSP == nil) == (s.File == nil) || s.Limits.Bytes < 1024 || name != strings.ToLower(name) {
			t.Errorf("accepted %q: %+v", name, s)
		}
		if s.RTSP != nil && (s.RTSP.URL == "" || s.RTSP.Timeout < 100*time.Millisecond || s.RTSP.Timeout > time.Hour) {
			t.Errorf("accepted %+v", s.RTSP)
		}
		for _, r := range s.Regions {
			if slices.ContainsFunc(r[:], math.IsNaN) {
				t.Errorf("accepted %v", r)
			}
		}
	}
}
