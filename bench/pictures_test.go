package bench

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"sightline/pipeline"
	"sightline/sources/decode"
	"sightline/sources/picture"
	"sightline/sources/scale"
	"sightline/sources/sim/clock"
)

func TestARecordingCountsItsPicturesAndComesBackFromItsFile(t *testing.T) {
	made, err := Record(t.Context(), Size{320, 180}, 5)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "recording")
	if err := made.Save(path); err != nil {
		t.Fatal(err)
	}
	r, err := Load(path)
	if err != nil || !reflect.DeepEqual(r, made) || len(r.Pictures) != lap*5 || r.BitRate() <= 0 {
		t.Fatalf("loaded %d pictures of %d, %v", len(r.Pictures), len(made.Pictures), err)
	}
	d, err := decode.Open(decode.Options{Codec: pipeline.H264})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	wish := pipeline.Wish{Width: 128, Height: 128, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}
	var scaler scale.Scaler
	defer scaler.Close()
	data, next := make([]byte, 128*128*3), uint32(0)
	for i, u := range r.units() {
		err := d.Decode(u, uint64(i), func(p *picture.Picture) {
			if err := scaler.Scale(p, &wish, pipeline.Whole, data); err != nil {
				t.Fatal(err)
			}
			if n, ok := clock.Read(data, 128, 128); !ok || n != next {
				t.Errorf("picture %d shows %d, %v", next, n, ok)
			}
			if u.Keyframe != p.Key {
				t.Errorf("picture %d: keyframe %v, the decoder says %v", i, u.Keyframe, p.Key)
			}
			next++
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if int(next) != len(r.Pictures) {
		t.Errorf("%d pictures came out of %d", next, len(r.Pictures))
	}
}

func TestRecordingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Record(ctx, Size{320, 180}, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoRecording(t *testing.T) {
	for _, path := range []string{"nowhere", "stats.go"} {
		if _, err := Load(path); err == nil {
			t.Errorf("%s was loaded", path)
		}
	}
	if err := (&Recording{}).Save(filepath.Join("nowhere", "recording")); err == nil {
		t.Error("a file in no folder was written")
	}
}
