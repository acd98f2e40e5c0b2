package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"sightline/runtime/driver"
)

// maxStats bounds an engine's answer, in bytes.
const maxStats = 1 << 20

// Sample implements driver.Sampler.
func (b *box) Sample(ctx context.Context) (driver.Usage, error) {
	var stats container.StatsResponse
	err := b.engine.call(ctx, func(ctx context.Context, api *client.Client) error {
		got, err := api.ContainerStats(ctx, b.container, client.ContainerStatsOptions{})
		if err != nil {
			return err
		}
		defer got.Body.Close()
		return json.NewDecoder(io.LimitReader(got.Body, maxStats)).Decode(&stats)
	})
	if err == nil && stats.MemoryStats.Usage == 0 {
		err = errors.New("it has ended")
	}
	if err != nil {
		return driver.Usage{}, fmt.Errorf("measure container box %q: %w", b.spec.ID, err)
	}
	return usageOf(stats), nil
}

// usageOf leaves out what is cached of files, which the kernel gives back at need.
func usageOf(stats container.StatsResponse) driver.Usage {
	used, cached := stats.MemoryStats.Usage, uint64(0)
	for _, name := range []string{"total_inactive_file", "inactive_file"} { // cgroup v1, v2
		if n, ok := stats.MemoryStats.Stats[name]; ok {
			cached = n
			break
		}
	}
	if cached < used {
		used -= cached
	}
	return driver.Usage{CPU: time.Duration(stats.CPUStats.CPUUsage.TotalUsage), Memory: int64(used)}
}
