package loader

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const hostCache = "/etc/ld.so.cache"

func readHostCache(t testing.TB) []byte {
	data, err := os.ReadFile(hostCache)
	if err != nil {
		t.Skip(err)
	}
	return data
}

func TestTheMachinesCacheReadsAsLdconfigPrintsIt(t *testing.T) {
	entries, err := ParseCache(readHostCache(t))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/sbin/ldconfig", "-p").Output()
	if err != nil {
		t.Skip(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "x86-64") || strings.Contains(line, "AArch64") {
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			_, path, _ := strings.Cut(strings.TrimSpace(line), " => ")
			want = append(want, name+" "+path)
		}
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name+" "+e.Path)
	}
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%d entries, ldconfig prints %d", len(got), len(want))
	}
}

func TestOurOrderIsLdconfigs(t *testing.T) {
	entries, err := ParseCache(readHostCache(t))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(entries, func(a, b CacheEntry) int { return compareNames(b.Name, a.Name) }) {
		t.Error("the machine's cache is not in our order")
	}
}

func TestAWrittenCacheReadsBack(t *testing.T) {
	entries := []CacheEntry{
		{Name: "libz.so.1", Path: "/lib/libz.so.1", Machine: AMD64},
		{Name: "liba.so.10", Path: "/lib/liba.so.10", Machine: AMD64},
		{Name: "liba.so.9", Path: "/lib/liba.so.9", Machine: AMD64},
	}
	data, err := EncodeCache(entries)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCache(data)
	if err != nil {
		t.Fatal(err)
	}
	if want := []CacheEntry{entries[0], entries[1], entries[2]}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	slices.Reverse(entries)
	again, err := EncodeCache(entries)
	if err != nil || !slices.Equal(data, again) {
		t.Errorf("another order gives other bytes: %v", err)
	}
	name := filepath.Join(t.TempDir(), "cache")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/sbin/ldconfig", "-p", "-C", name).CombinedOutput()
	if err != nil {
		t.Skipf("ldconfig: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "liba.so.10 (libc6,x86-64) => /lib/liba.so.10") {
		t.Errorf("ldconfig reads it as\n%s", out)
	}
}

// oldAndNew is a cache that begins with the oldest layout's table.
func oldAndNew(count uint32, rest []byte) []byte {
	data := binary.LittleEndian.AppendUint32([]byte(oldMagic), count)
	data = append(data, make([]byte, count*oldEntry)...)
	for len(data)%8 != 0 {
		data = append(data, 0)
	}
	return append(data, rest...)
}

func TestACacheInBothLayoutsIsRead(t *testing.T) {
	plain, err := EncodeCache([]CacheEntry{{Name: "liba.so.1", Path: "/lib/liba.so.1", Machine: ARM64}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCache(oldAndNew(3, plain))
	if err != nil || len(got) != 1 || got[0].Path != "/lib/liba.so.1" || got[0].Machine != ARM64 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// badCaches are refused, with a word of the reason.
func badCaches(t testing.TB) map[string][]byte {
	good, err := EncodeCache([]CacheEntry{{Name: "liba.so.1", Path: "/lib/liba.so.1", Machine: AMD64}})
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, value uint32) []byte {
		data := slices.Clone(good)
		binary.LittleEndian.PutUint32(data[at:], value)
		return data
	}
	extended := append(change(32, uint32(len(good))), binary.LittleEndian.AppendUint32(nil, extensionMagic)...)
	return map[string][]byte{
		"not a library cache": []byte("nothing of the kind"),
		"too short":           change(20, 1<<30),
		"string at":           change(cacheHeader+4, 1<<31),
		"has no end":          good[:len(good)-1],
		"before 2.2":          oldAndNew(2, nil),
		"big-endian":          change(28, 3),
		"extensions":          append(extended, 0xff, 0xff, 0xff, 0xff),
	}
}

func TestBadCachesAreRefused(t *testing.T) {
	for reason, data := range badCaches(t) {
		if _, err := ParseCache(data); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

func TestNamesAreOrderedAsTheLoaderSearches(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"liba.so.9", "liba.so.10", -1}, {"liba.so", "liba.so.1", -1}, {"liba1.so", "liba.so", 1},
		{"libb.so", "liba.so", 1}, {"liba.so.1", "liba.so.1", 0},
	} {
		if got := compareNames(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzParseCache(f *testing.F) {
	for _, data := range badCaches(f) {
		f.Add(data)
	}
	if data, err := os.ReadFile(hostCache); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParseCache(data)
		if err == nil && len(entries)*cacheEntry > len(data) {
			t.Errorf("%d entries of %d bytes", len(entries), len(data))
		}
	})
}
