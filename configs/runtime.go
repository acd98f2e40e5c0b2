package configs

import "sightline/pipeline"

// The boxes: ways to run a stage.
const (
	Inline    = "inline"    // in sightline itself
	Process   = "process"   // a child process
	Container = "container" // of a container engine
	VM        = "vm"        // a virtual machine with a Linux kernel
	Unikernel = "unikernel" // a virtual machine with nothing but the stage
)

// Boxes lists the boxes, the nearest to the supervisor first.
func Boxes() []string { return []string{Inline, Process, Container, VM, Unikernel} }

// Runtime says where each stage runs, and on what.
type Runtime struct {
	Default   string           `mapstructure:"default" enum:"inline,process,container,vm,unikernel" default:"process" doc:"Box of the stages that name none below. A stage that works with files or devices of this machine, or writes to standard output, runs inline all the same."`
	Stages    map[string]Box   `mapstructure:"stages" doc:"Boxes of single stages, by the stage's name."`
	Container ContainerEngine  `mapstructure:"container" doc:"What container boxes stand on."`
	VM        VMEngine         `mapstructure:"vm" doc:"What vm boxes stand on."`
	Unikernel UnikernelEngine  `mapstructure:"unikernel" doc:"What unikernel boxes stand on."`
	Guests    map[string]Guest `mapstructure:"guests" doc:"Whole other systems that run beside the stages, each a virtual machine of its own, by name."`
}

// Box is where one stage runs, and the most that it may use.
type Box struct {
	In     string        `mapstructure:"in" enum:"inline,process,container,vm,unikernel" doc:"Kind of box; default: runtime.default. inline: in sightline itself."`
	Memory pipeline.Size `mapstructure:"memory" min:"8MiB" doc:"Most memory; of a vm or unikernel all that it has, its kernel included. Default: no limit, or 512MiB in a vm or unikernel. At least 128MiB in a vm; in a unikernel 96MiB for a sink and 256MiB for others." example:"256MiB"`
	CPUs   float64       `mapstructure:"cpus" min:"0.01" max:"256" doc:"Most processors; 0.5 is half the time of one. A unikernel has at most 4. Default: no limit." example:"1"`
	PIDs   int           `mapstructure:"pids" min:"8" max:"65536" doc:"Most processes and threads; not in a unikernel. Default: no limit." example:"64"`
}

// ContainerEngine is what container boxes stand on.
type ContainerEngine struct {
	Engine string `mapstructure:"engine" doc:"Address of the engine's socket, Docker's or Podman's; default: the first that answers." example:"unix:///run/docker.sock"`
}

// The values of VMEngine.Accelerator.
const (
	AcceleratorAuto = "auto"
	AcceleratorKVM  = "kvm"
	AcceleratorTCG  = "tcg"
)

// VMEngine is what vm boxes stand on, and guests as far as it is theirs.
type VMEngine struct {
	Kernel      string `mapstructure:"kernel" doc:"Linux kernel for vm boxes; default: the newest in /boot that serves." example:"/boot/vmlinuz-6.1.0-38-cloud-amd64"`
	Modules     string `mapstructure:"modules" doc:"Folder of that kernel's modules; default: the one in /lib/modules with the kernel's version." example:"/lib/modules/6.1.0-38-cloud-amd64"`
	Accelerator string `mapstructure:"accelerator" enum:"auto,kvm,tcg" default:"auto" doc:"What executes vm boxes and guests: auto is kvm where a guest starts with it, else tcg, which is slow."`
}

// UnikernelEngine is what unikernel boxes stand on.
type UnikernelEngine struct {
	Release string `mapstructure:"release" doc:"Folder of a Nanos release, with kernel.img and boot.img; ~/ is the user's home. Default: the latest in ~/.ops." example:"~/.ops/0.1.54"`
}

// The values of Guest.Format.
const (
	QCOW2 = "qcow2"
	Raw   = "raw"
)

// Guest is a whole other system from a disk image, which the supervisor runs beside the stages.
type Guest struct {
	Disk     string            `mapstructure:"disk" required:"true" doc:"Disk image that it starts from." example:"old-windows.qcow2"`
	Format   string            `mapstructure:"format" enum:"qcow2,raw" default:"qcow2" doc:"Form of the image. It is never guessed: who writes the disk could choose it."`
	Snapshot bool              `mapstructure:"snapshot" default:"false" doc:"Leaves the image as it is: what the guest writes is gone when it stops."`
	Memory   pipeline.Size     `mapstructure:"memory" min:"16MiB" default:"1GiB" doc:"Memory of the guest."`
	CPUs     int               `mapstructure:"cpus" min:"1" max:"256" default:"1" doc:"Processors of the guest."`
	Machine  string            `mapstructure:"machine" enum:"q35,pc,virt" doc:"Machine that it is made for: q35 or pc (an older one) on x86-64, virt on arm64. Default: q35 or virt, as this machine is."`
	Grants   map[string]string `mapstructure:"grants" doc:"Addresses that it may reach, by a name of your choice: host:port. None: no network." example:"192.0.2.5:502"`
}

// BoxOf names the box that a stage runs in: the one that its section of runtime names; else inline,
// for a stage that works with this machine's own files; else runtime.default.
func (p *Pipeline) BoxOf(stage string) string {
	if box := p.Runtime.Stages[stage]; box.In != "" {
		return box.In
	}
	if p.onlyInline(stage) {
		return Inline
	}
	return p.Runtime.Default
}

// onlyInline tells whether a stage works with files or devices of this machine, or its standard output,
// which no box has.
func (p *Pipeline) onlyInline(stage string) bool {
	source := p.Sources[stage]
	return source.Local() || p.Sinks[stage].JSONL != nil
}
