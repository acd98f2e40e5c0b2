// Package sources defines the section `sources:` of a pipeline file. The sources themselves are in
// the packages below it.
package sources

import (
	"time"

	"sightline/pipeline"
)

// Config is one capture stage: a camera and which of its pictures are wanted. Exactly one of the
// kinds of source is set.
type Config struct {
	RTSP      *RTSP         `mapstructure:"rtsp" doc:"A camera that speaks RTSP."`
	File      *File         `mapstructure:"file" doc:"A video file of this machine. Such a source runs inline."`
	Device    *Device       `mapstructure:"device" doc:"A camera of this machine, such as one at a USB port. Such a source runs inline."`
	Sample    Sample        `mapstructure:"sample" doc:"Which pictures are analysed."`
	Motion    *Motion       `mapstructure:"motion" optional:"true" doc:"Lets pictures through only while something moves in them."`
	Decoder   string        `mapstructure:"decoder" enum:"auto,software,v4l2m2m,vaapi,cuda,nvv4l2" default:"auto" doc:"What decodes: a named hardware decoder that is absent is an error; auto takes the first that works and says which."`
	Staleness time.Duration `mapstructure:"staleness" default:"500ms" min:"1ms" doc:"Pictures older than this are dropped instead of analysed."`
}

// RTSP is a camera that speaks RTSP (RFC 2326).
type RTSP struct {
	URL          string          `mapstructure:"url" required:"true" doc:"Address of the stream: rtsp://host:port/path, or rtsps:// for TLS. Without user and password." example:"rtsp://192.0.2.10:554/stream1"`
	Username     string          `mapstructure:"username" doc:"User for basic or digest authentication." example:"viewer"`
	Password     pipeline.Secret `mapstructure:"password" doc:"Password, as ${VARIABLE} from the environment." example:"${CAMERA_PASSWORD}"`
	PasswordFile string          `mapstructure:"password_file" doc:"File that holds the password." example:"/run/secrets/gate"`
	Transport    string          `mapstructure:"transport" enum:"auto,tcp,udp,tls" default:"auto" doc:"auto tries UDP, then TCP; tls is RTSP inside TLS with media interleaved."`
	CAFile       string          `mapstructure:"ca_file" doc:"PEM file of the authorities that may sign the camera's certificate; default: the system's."`
	Fingerprint  string          `mapstructure:"fingerprint" doc:"SHA-256 of the camera's certificate in hexadecimal; it is then the only one accepted." example:"5f:1c:…"`
	Stall        time.Duration   `mapstructure:"stall" default:"5s" min:"100ms" doc:"Without a packet for this long the connection is made anew."`

	// Shown is the URL as it is written, when there are variables in it, for texts; see Name.
	Shown string `mapstructure:"-"`
}

// The values of File.Pace.
const (
	PaceRealtime = "realtime"
	PaceFast     = "fast"
)

// File is a video file of this machine: MP4, MOV, Matroska, MPEG-TS, AVI, or H.264, H.265 or JPEG pictures
// as they are.
type File struct {
	Path string `mapstructure:"path" required:"true" doc:"Video file: MP4, MOV, Matroska, MPEG-TS, AVI, or H.264, H.265 or JPEG pictures as they are." example:"entrance.mp4"`
	Loop bool   `mapstructure:"loop" default:"false" doc:"Begins again at the end. Without it the source ends with the file, and sightline run with its last source."`
	Pace string `mapstructure:"pace" enum:"realtime,fast" default:"realtime" doc:"realtime: as the file's times say, like a camera; pictures that come too fast are dropped. fast: one after the other as soon as the models are ready, none is dropped for being late."`
}

// FormatAuto is the value of Device.Format that takes what the camera offers.
const FormatAuto = "auto"

// Device is a camera of this machine that the Linux kernel gives (V4L2).
type Device struct {
	Path   string  `mapstructure:"path" default:"/dev/video0" doc:"Device file of the camera." example:"/dev/v4l/by-id/usb-046d_HD_Pro_Webcam-video-index0"`
	Width  int     `mapstructure:"width" min:"16" max:"32768" doc:"Width of the pictures in pixels, together with height. The camera takes the nearest that it can. Default: as it is set."`
	Height int     `mapstructure:"height" min:"16" max:"32768" doc:"Height of the pictures in pixels."`
	FPS    float64 `mapstructure:"fps" min:"0.1" max:"1000" doc:"Pictures a second that the camera is asked for. Default: as it is set."`
	Format string  `mapstructure:"format" enum:"auto,mjpeg,h264,yuyv" default:"auto" doc:"How the camera gives its pictures: auto takes the first of mjpeg, h264 and yuyv that it offers."`
}

// Ended is the reason of a capture stage that stopped because its source was finite. All its pictures are on
// the links then.
const Ended = "the source came to its end"

// Patient tells whether pictures wait for the models, instead of being dropped when those are busy.
func (c *Config) Patient() bool { return c.File != nil && c.File.Pace == PaceFast }

// Finite tells whether the source comes to an end by itself.
func (c *Config) Finite() bool { return c.File != nil && !c.File.Loop }

// Local tells whether the source is something of this machine, which no box has.
func (c *Config) Local() bool { return c.File != nil || c.Device != nil }

// The values of Sample.Every.
const (
	EveryFrame    = "frame"
	EveryKeyframe = "keyframe"
)

// Sample says which pictures are analysed: every frame (the default), every keyframe, or some a second.
type Sample struct {
	Every string  `mapstructure:"every" enum:"frame,keyframe" doc:"frame, or keyframe: only keyframes are decoded. Not together with fps."`
	FPS   float64 `mapstructure:"fps" min:"0" doc:"Pictures a second, evenly spaced. Low values skip decoding what nothing depends on."`
}

// Motion lets pictures through only while something moves in them.
type Motion struct {
	MinArea   float64              `mapstructure:"min_area" default:"0.005" min:"0.0001" max:"1" doc:"Least part of the picture that must move together: 0.005 is half a hundredth of it, a person in the distance."`
	Threshold int                  `mapstructure:"threshold" default:"25" min:"1" max:"255" doc:"By how much a pixel's brightness, 0 to 255, must differ from what it usually is. Higher values see less."`
	Hold      time.Duration        `mapstructure:"hold" default:"2s" min:"0s" max:"1h" doc:"How long pictures go on after the last one with motion, and at the start."`
	Masks     map[string][]float64 `mapstructure:"masks" doc:"Named parts of the picture where motion does not count, in fractions of its width and height: [left, top, right, bottom], or the corners of a polygon [x, y, x, y, x, y, …]."`
}
