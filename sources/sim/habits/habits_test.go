package habits_test

import (
	"strings"
	"testing"

	"sightline/sources/sim/habits"
)

func TestCorpusIsWellFormed(t *testing.T) {
	all, err := habits.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		e := h.Expect
		if e.Pictures == 0 && e.Refused == "" {
			t.Errorf("%s expects nothing", h.Name)
		}
		if e.Permanent && e.Refused == "" {
			t.Errorf("%s: permanent without refused", h.Name)
		}
		if _, err := habits.Named(h.Name); err != nil {
			t.Error(err)
		}
	}
	if _, err := habits.Named("none"); err == nil {
		t.Error("there is a habit named none")
	}
}

func TestHabitsThatMakeNoSense(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key": "about: x\nbogus: 1\n", "no about": "media: {silent: true}\n", "bad choice": "about: x\nmedia: {markers: some}\n",
		"not yaml": "about: [",
	} {
		if _, err := habits.Parse([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestEveryKnownComplaintHasAHabit lists what users of other programs complained about, and the habits
// that stand for it.
func TestEveryKnownComplaintHasAHabit(t *testing.T) {
	for complaint, names := range map[string][]string{
		"t= and session ids that are no numbers (mediamtx#2555, #2708)":               {"sdp-times-negative"},
		"c=IN c=IN IP4 (mediamtx#227)":                                                {"sdp-connection-doubled"},
		"c=IN (mediamtx#5033)":                                                        {"sdp-connection-empty"},
		"no session name (mediamtx#2473)":                                             {"sdp-no-session-name"},
		"broken o= (mediamtx#2762)":                                                   {"sdp-origin-broken"},
		"garbage between interleaved frames (gortsplib PR#653)":                       {"garbage-between-frames", "unknown-channels"},
		"no interleaved ids (gortsplib#142)":                                          {"no-interleaved-ids"},
		"unexpected interleaved frame (kerberos-io/hub#13)":                           {"early-frames"},
		"# in the password (mediamtx#557)":                                            {"auth-basic", "digest-nonce-changes"}, // habits.Password has one
		"Dahua's digest (retina#62)":                                                  {"digest-dahua"},
		"the order of headers gives 400 (mediamtx#2887)":                              {"header-order"},
		"start codes in sprop-parameter-sets (moonfire-nvr#331)":                      {"sdp-start-codes"},
		"grey frames from UDP loss (mediamtx#1328, motion#15)":                        {"udp-loss", "udp-turned-around", "udp-doubled"},
		"no retry, i/o timeouts, stuck until restart (go2rtc#39, #940, #1118, #1256)": {"stalls", "silent", "hangs-up"},
		"EOF every 10 minutes (go2rtc#908)":                                           {"closes"},
		"B-frames (Savant#126)":                                                       {"b-frames"},
		"timestamps that begin again at 0 (Savant#182)":                               {"time-begins-anew"},
		"timestamps that are not monotonic (Savant#681, #684)":                        {"time-jumps", "time-backwards", "time-frozen", "time-wraps"},
		"SNTP steps (moonfire-nvr#36)":                                                {"rtcp-1970", "time-jumps"},
		"declared and delivered rate differ (open-nvr#229)":                           {"clock-rate-wrong"},
		"no sender reports (go2rtc PR#2326)":                                          {"rtcp-none", "rtcp-zero"},
		"passwords in logs (scrypted#2096, frigate#1431, #5798, go2rtc#238)":          {"auth-downgrade", "auth-basic"}, // TestHabits looks for it in all
	} {
		for _, name := range names {
			if _, err := habits.Named(name); err != nil {
				t.Errorf("%s: %v", complaint, err)
			}
		}
	}
	if !strings.Contains(habits.Password, "#") {
		t.Error("the password has no #")
	}
}
