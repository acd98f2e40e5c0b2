package main

import (
	"sightline/configs"
	"sightline/runtime/container"
	"sightline/runtime/driver"
	"sightline/runtime/process"
)

// boxDrivers are the drivers of boxes outside of sightline, by the kind of box, with what the pipeline
// file says of what they stand on.
func boxDrivers(r configs.Runtime) map[string]driver.Driver {
	return map[string]driver.Driver{
		configs.Process:   process.New(),
		configs.Container: &container.Driver{Host: r.Container.Engine},
	}
}
