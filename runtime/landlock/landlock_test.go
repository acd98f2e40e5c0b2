package landlock

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestLandlockForbidsMoreWithEachVersion(t *testing.T) {
	last := unix.LandlockRulesetAttr{}
	for version := 1; version <= 7; version++ {
		attr := ruleset(version)
		if attr.Handled_access_fs&last.Handled_access_fs != last.Handled_access_fs || attr.Handled_access_net < last.Handled_access_net || attr.Scoped < last.Scoped {
			t.Errorf("version %d forbids less", version)
		}
		if attr.Handled_access_net != 0 && rulesetSize(version) < 16 || attr.Scoped != 0 && rulesetSize(version) < 24 {
			t.Errorf("version %d: not all is handed over", version)
		}
		last = attr
	}
}
