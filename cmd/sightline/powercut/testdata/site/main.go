// Command site is the world around the device of a power cut's test: a camera, a broker, and an
// upstream that acknowledges a result, by printing its ID, once the ID is in its file for good. The
// first line says that all of it is there.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sightline/pipeline"
	"sightline/sinks/broker"
	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
	"sightline/sources/sim/scene"
)

const fps = 2

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

func run() error {
	server := &sim.Server{Address: "127.0.0.1:8554", Username: "viewer", Password: "seen"}
	if err := server.Start(); err != nil {
		return err
	}
	film := &camera.Camera{
		Server: server, Path: "gate", Scene: scene.Options{Seed: 2026, Width: 160, Height: 90},
		Encode: encode.Options{Codec: pipeline.H264, FPS: fps, BitRate: 100_000, GOP: fps},
	}
	if err := film.Open(); err != nil {
		return err
	}
	b, err := broker.Start(broker.Options{Port: 1883})
	if err != nil {
		return err
	}
	if err := subscribe(strings.Replace(b.URL(), "mqtt:", "tcp:", 1)); err != nil {
		return err
	}
	fmt.Println("there")
	return film.Run(context.Background())
}

func subscribe(address string) error {
	file, err := os.OpenFile("/acknowledged", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(address).SetClientID("upstream").SetOrderMatters(true))
	if t := client.Connect(); !t.WaitTimeout(time.Minute) || t.Error() != nil {
		return fmt.Errorf("connect to the broker: %w", t.Error())
	}
	t := client.Subscribe("sightline/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		if !strings.HasSuffix(m.Topic(), "/result") {
			return
		}
		if err := keep(file, m.Payload()); err != nil {
			fmt.Fprintln(os.Stderr, "upstream:", err)
			os.Exit(1)
		}
	})
	if !t.WaitTimeout(time.Minute) || t.Error() != nil {
		return fmt.Errorf("subscribe: %w", t.Error())
	}
	return nil
}

// keep puts the ID of a result into the file for good, and acknowledges it.
func keep(file *os.File, payload []byte) error {
	var r pipeline.Result
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if _, err := file.WriteString(r.ID + "\n"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	_, err := fmt.Println(r.ID)
	return err
}
