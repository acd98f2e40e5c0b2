package bench

import (
	"testing"
	"time"
)

func TestQuantilesAreTheNearestRank(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[(i*37)%100] = time.Duration(i + 1) // 1 to 100, out of order
	}
	tests := []struct {
		name    string
		samples []time.Duration
		want    Quantiles
	}{
		{"nothing has no quantiles", nil, Quantiles{}},
		{"one sample is all of them", []time.Duration{7}, Quantiles{1, 7, 7, 7, 7}},
		{"of two the median is the lower", []time.Duration{9, 3}, Quantiles{2, 3, 9, 9, 9}},
		{"1 to 100", hundred, Quantiles{100, 50, 95, 99, 100}},
	}
	for _, test := range tests {
		if got := quantiles(test.samples); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestMemoryGrowthComparesTheQuartersAndNotSinglePeaks(t *testing.T) {
	tests := []struct {
		name    string
		samples []int64
		growth  float64
	}{
		{"nothing does not grow", nil, 0},
		{"one sample does not grow", []int64{5}, 0},
		{"a peak in the middle is no growth", []int64{100, 100, 100, 900, 100, 100, 100, 100}, 0},
		{"a step is", []int64{100, 100, 100, 100, 100, 150, 150, 150}, 0.5},
		{"less is negative", []int64{100, 100, 100, 100, 100, 75, 75, 75}, -0.25},
	}
	for _, test := range tests {
		if got := memory(test.samples).Growth(); got != test.growth {
			t.Errorf("%s: growth %v, want %v", test.name, got, test.growth)
		}
	}
	m := memory([]int64{4, 2, 9, 3})
	if m.Min != 2 || m.Max != 9 || m.First != 4 || m.Last != 3 {
		t.Errorf("summed up as %+v", m)
	}
}
