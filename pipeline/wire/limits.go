package wire

import "time"

// The bounds of everything that crosses a wire.
const (
	MaxHello         = 4 << 10   // bytes of a message of the hello
	MaxOpening       = 16 << 10  // bytes of an opening
	MaxConfiguration = 4 << 20   // bytes of a configuration
	MaxRecord        = 64 << 10  // bytes of any other control record
	MaxStats         = 512 << 10 // bytes of a snapshot of statistics
	MaxResult        = 64 << 10  // bytes of a result or status
	MaxFrame         = 64 << 20  // bytes of a frame's pixels
	MaxSide          = 16 << 10  // pixels of a side of a frame
	MaxRegions       = 64        // regions of a wish

	maxName        = 128  // bytes of a name
	maxText        = 1024 // bytes of a text field
	maxReason      = 512
	maxSeries      = 2048
	maxLabels      = 32
	maxPredictions = 1000
	maxAttributes  = 32
	maxStreams     = 64 // open at once, of both sides
	maxDials       = 16 // connections of a stage open at once
	maxCredits     = 4
	maxStatuses    = 64       // sources that a stage tells of
	maxBlock       = 32 << 10 // bytes of a block of a connection

	outboxMessages = 256     // results that wait for being acknowledged
	outboxBytes    = 4 << 20 // and their bytes
	inletMessages  = 2 * outboxMessages
	logsWaiting    = 256 // log records that wait for the supervisor
)

// The times of a wire.
const (
	helloTimeout   = 15 * time.Second
	openingTimeout = 15 * time.Second
	writeTimeout   = 20 * time.Second // nothing can be written: the other side is stuck
	pingEvery      = 10 * time.Second
	closeTimeout   = time.Minute // until a stream that only one side closed is forgotten
	dialTimeout    = 30 * time.Second
	beatEvery      = time.Second
	statsEvery     = time.Second
	clockEvery     = 5 * time.Second
	wishEvery      = 50 * time.Millisecond
	reopenAfter    = 250 * time.Millisecond

	// SilenceLimit is how long a stage may send nothing before its wire is given up, unless
	// BoxOptions says otherwise.
	SilenceLimit = 30 * time.Second
)
