package file

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"sightline/pipeline"
)

// inMemory makes a file of bytes that no folder has.
func inMemory(t testing.TB, data []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "fuzz")
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

// FuzzFile plays hostile files: whatever they hold, they play or are refused.
func FuzzFile(f *testing.F) {
	const most = 40_000 // what is longer is cut: it is slow to change, and its end is tried as well
	for name := range seeds(f) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), most)])
	}
	f.Add([]byte("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"))
	f.Add([]byte("ffconcat version 1.0\nfile /etc/passwd\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := inMemory(t, data)
		defer file.Close()
		d, err := newDemuxer()
		if err != nil {
			t.Skip(err)
		}
		defer d.close()
		if err := d.open(file, "fuzz"); err != nil {
			return
		}
		p := player{ctx: t.Context(), env: quiet(t), take: func(u *pipeline.Unit) { checkUnit(t, u) }}
		if err := p.begin(d); err != nil {
			return
		}
		var next packet
		for range 100 {
			if err := d.next(&next); err != nil {
				if !errors.Is(err, io.EOF) && err.Error() == "" {
					t.Error("an error without words")
				}
				return
			}
			if err := p.packet(&next); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func checkUnit(t *testing.T, u *pipeline.Unit) {
	t.Helper()
	if len(u.NALs) == 0 || u.PTS < -apart {
		t.Errorf("a unit of %d parts at %v", len(u.NALs), u.PTS)
	}
	for _, n := range u.NALs {
		if len(n) == 0 {
			t.Error("an empty part")
		}
	}
}

// seeds are small clips of each container and codec; each is begun with, so that they are no large ones.
func seeds(t testing.TB) map[string]bool {
	root := os.Getenv("SIGHTLINE_TESTDATA")
	all := map[string]bool{}
	for _, name := range []string{
		"odd/mediamtx_offline_h264.mp4", "odd/mediamtx_offline_h265.mp4", "odd/mediamtx_offline_av1.mp4", "odd/media3_h265_bframes.mp4",
		"odd/media3_sample_h264_no_access_unit_delimiters.ts", "odd/media3_sample_h265_rps_pred.ts", "odd/media3_iibbibb_editlist_videoonly.mp4",
		"h264_conformance/MIDR_MW_D.264", "odd/libvpl_cars_320x240.h264", "odd/libvpl_cars_320x240.mjpeg", "derived/bottle_mjpeg_10fps.avi",
	} {
		path := filepath.Join(root, "videos", name)
		if _, err := os.Stat(path); err == nil {
			all[path] = true
		}
	}
	if len(all) == 0 {
		t.Log("SIGHTLINE_TESTDATA names no clips to begin with")
	}
	return all
}
