package capture

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

// print is what makes a decoded picture out.
type print [sha256.Size]byte

func printOf(p *picture.Picture) print {
	h := sha256.New()
	fmt.Fprint(h, p.Width, p.Height, p.Model, p.Matrix, p.FullRange, p.Depth)
	for i := range p.Count() {
		c := &p.Components[i]
		width, height := p.Size(i)
		if p.Depth > 8 {
			width *= 2
		}
		for y := range height {
			h.Write(c.Data[y*c.Stride:][:width])
		}
	}
	return print(h.Sum(nil))
}

// shown puts units through a stage, one after the other in place, and returns the pictures that it
// took for good, by the number of their unit, counted from 1.
func shown(t *testing.T, units []*pipeline.Unit) (map[uint64]print, *rig) {
	t.Helper()
	r := newRig(sources.Config{}, nil)
	r.link.Open(small)
	run := newRun(r.stage)
	found, before := map[uint64]print{}, uint64(0)
	run.worker.take = func(p *picture.Picture) {
		run.worker.takePicture(p)
		if sent := r.count(pipeline.FramesSent); sent != before {
			before = sent
			found[p.Sequence] = printOf(p)
		}
	}
	step := func() {
		it := run.queue.next()
		if err := run.worker.step(it); err != nil {
			t.Fatal(err)
		}
		run.queue.release(it)
	}
	for _, u := range units {
		run.take(fresh(u))
		step()
	}
	if err := run.worker.interrupt(); err != nil {
		t.Fatal(err)
	}
	run.worker.close()
	r.ledger(t, 1)
	return found, r
}

// stream returns the units of a byte stream; a unit is marked where decoding can begin.
func stream(t *testing.T, codec pipeline.Codec, data []byte) []*pipeline.Unit {
	var all []*pipeline.Unit
	if codec == pipeline.MJPEG {
		for _, jpeg := range bytes.SplitAfter(data, []byte{0xff, 0xd9}) {
			if len(jpeg) > 2 {
				all = append(all, &pipeline.Unit{Codec: codec, NALs: [][]byte{jpeg}, Keyframe: true})
			}
		}
		return all
	}
	for _, nals := range nal.AccessUnits(codec, nal.Split(data, nil)) {
		u := &pipeline.Unit{Codec: codec, NALs: nals}
		u.Keyframe = nal.Keyframe(u) || refreshes(u)
		all = append(all, u)
	}
	timed(t, codec, all)
	return all
}

// timed gives units the times of their pictures, by the order in which those are shown.
func timed(t *testing.T, codec pipeline.Codec, units []*pipeline.Unit) {
	t.Helper()
	d, err := decode.Open(decode.Options{Codec: codec, Decoder: decode.Software})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n := 0
	take := func(p *picture.Picture) {
		units[p.Sequence-1].PTS = time.Duration(n) * 40 * time.Millisecond
		n++
	}
	for i, u := range units {
		if err := d.Decode(u, uint64(i+1), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Drain(take); err != nil {
		t.Fatal(err)
	}
}

// refreshes tells whether a unit of H.264 has a recovery point.
func refreshes(u *pipeline.Unit) bool {
	return u.Codec == pipeline.H264 && slices.ContainsFunc(u.NALs, func(n []byte) bool { return len(n) > 3 && n[0]&31 == 6 && n[1] == 6 })
}

// coded makes a stream with the ffmpeg program.
func coded(t *testing.T, arguments ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("making the stream needs the ffmpeg program: ", err)
	}
	picture := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25", "-frames:v", "60", "-threads", "1"}
	out, err := exec.Command(program, append(append(picture, arguments...), "-")...).Output()
	if err != nil {
		t.Skip("the ffmpeg program makes no such stream: ", err)
	}
	return out
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(pipelinetest.TestData(t), "videos", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// films are streams of every way of building on other pictures.
func films(t *testing.T) map[string][]*pipeline.Unit {
	x264 := func(parameters string) []*pipeline.Unit {
		return stream(t, pipeline.H264, coded(t, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-x264-params", "log-level=none:"+parameters, "-f", "h264"))
	}
	x265 := func(parameters string) []*pipeline.Unit {
		return stream(t, pipeline.H265, coded(t, "-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "veryfast", "-x265-params", "log-level=none:pools=none:frame-threads=1:"+parameters, "-f", "hevc"))
	}
	return map[string][]*pipeline.Unit{
		"baseline":      x264("keyint=15:bframes=0:cabac=0:ref=3:8x8dct=0"),
		"cabac":         x264("keyint=15:bframes=0:ref=1"),
		"b-pyramid":     x264("keyint=20:bframes=3:b-pyramid=normal:b-adapt=0"),
		"open gop":      x264("keyint=20:min-keyint=1:bframes=3:open-gop=1:b-adapt=0"),
		"slices":        x264("keyint=15:slices=4:bframes=2"),
		"interlaced":    x264("keyint=15:interlaced=1:tff=1:bframes=0"),
		"intra refresh": x264("keyint=20:intra-refresh=1:bframes=0"),
		"hevc":          x265("keyint=15:bframes=0"),
		"hevc b":        x265("keyint=15:bframes=3:b-pyramid=1:open-gop=0"),
		"hevc open gop": x265("keyint=15:min-keyint=1:bframes=3:open-gop=1"),
		"mjpeg":         stream(t, pipeline.MJPEG, coded(t, "-c:v", "mjpeg", "-f", "mjpeg")),
		"car slices":    stream(t, pipeline.H264, file(t, "derived/car_baseline_4slices_aud.h264"))[:40],
	}
}

// harms are what becomes of a unit on a bad way; nil: it is lost. told says that the network noticed.
var harms = []struct {
	name string
	do   func(*pipeline.Unit, *rand.Rand) (harmed *pipeline.Unit, told uint64)
}{
	{"lost unseen", func(*pipeline.Unit, *rand.Rand) (*pipeline.Unit, uint64) { return nil, 0 }},
	{"lost", func(*pipeline.Unit, *rand.Rand) (*pipeline.Unit, uint64) { return nil, 3 }},
	{"cut short", func(u *pipeline.Unit, random *rand.Rand) (*pipeline.Unit, uint64) {
		c := copied(u)
		n := &c.NALs[len(c.NALs)-1]
		*n = (*n)[:len(*n)*(1+random.IntN(8))/10+1]
		return c, 0
	}},
	{"slice lost unseen", func(u *pipeline.Unit, random *rand.Rand) (*pipeline.Unit, uint64) {
		c := copied(u)
		c.NALs = slices.Delete(c.NALs, len(c.NALs)-1, len(c.NALs))
		if len(c.NALs) == 0 {
			return nil, 0
		}
		return c, 0
	}},
	{"packets lost", func(u *pipeline.Unit, random *rand.Rand) (*pipeline.Unit, uint64) {
		c := copied(u)
		n := &c.NALs[len(c.NALs)-1]
		from := len(*n) * (1 + random.IntN(5)) / 10
		*n = slices.Delete(*n, from+1, from+1+len(*n)/4)
		return c, 1
	}},
	{"bits flipped", func(u *pipeline.Unit, random *rand.Rand) (*pipeline.Unit, uint64) {
		c := copied(u)
		for range 8 {
			n := c.NALs[len(c.NALs)-1]
			n[random.IntN(len(n))] ^= 1 << random.IntN(8)
		}
		return c, 0
	}},
}

func copied(u *pipeline.Unit) *pipeline.Unit {
	c := *u
	c.NALs = nil
	for _, n := range u.NALs {
		c.NALs = append(c.NALs, bytes.Clone(n))
	}
	return &c
}

// silent tells whether a kind of damage can be such that libavcodec does not notice it: it looks at
// none of what is inside a slice of H.265, and not at all of it elsewhere.
func silent(film, harm string) bool {
	return harm == "bits flipped" || film == "mjpeg" || harm == "cut short" && strings.HasPrefix(film, "hevc")
}

// harmed returns a film with some units harmed, the number of each unit in the film, and for each
// number whether its picture can be wrong although nothing told that.
func harmed(units []*pipeline.Unit, harm int, random *rand.Rand) (bad []*pipeline.Unit, number []uint64, doubtful map[uint64]bool) {
	doubtful = map[uint64]bool{}
	told, dirty, healed := uint64(0), false, time.Duration(0)
	for i, original := range units {
		u := original
		if random.IntN(20) == 0 {
			var n uint64
			u, n = harms[harm].do(u, random)
			told += n
			dirty = true
		} else if dirty && nal.Keyframe(u) {
			dirty, healed = false, u.PTS
		}
		doubtful[uint64(i+1)] = dirty || original.PTS < healed
		if u == nil {
			continue
		}
		c := *u
		c.Lost, told = told, 0
		bad, number = append(bad, &c), append(number, uint64(i+1))
	}
	return bad, number, doubtful
}

func TestWhatIsShownAfterDamageIsWhatTheCleanStreamShows(t *testing.T) {
	all := films(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			units := all[name]
			clean, _ := shown(t, units)
			if len(clean) < len(units)*9/10 {
				t.Errorf("%d units, %d pictures", len(units), len(clean))
			}
			for k, harm := range harms {
				good, wrong, random := 0, 0, rand.New(rand.NewPCG(1, uint64(k)))
				for range 3 {
					bad, number, doubtful := harmed(units, k, random)
					found, r := shown(t, bad)
					if drops := r.drops(); len(drops) > 2 || len(found)+int(drops[pipeline.DropDamaged]+drops[pipeline.DropAwaitKeyframe]) != len(bad) {
						t.Errorf("%s: %d shown of %d units, dropped %v", harm.name, len(found), len(bad), drops)
					}
					for sequence, p := range found {
						n := number[sequence-1]
						good++
						if p == clean[n] {
							continue
						}
						wrong++
						if !silent(name, harm.name) || !doubtful[n] {
							t.Errorf("%s: what is shown of unit %d is not what the clean stream shows", harm.name, n)
						}
					}
				}
				t.Logf("%s: %d of %d shown, %d of them wrong", harm.name, good, 3*len(units), wrong)
				if good == 0 || good == 3*len(units) && !silent(name, harm.name) {
					t.Errorf("%s: %d shown: that is no test", harm.name, good)
				}
			}
		})
	}
}
