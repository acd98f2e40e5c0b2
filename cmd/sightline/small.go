package main

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is",
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(c.OutOrStdout(), "sightline %s %s/%s %s\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

func newHealth() *cobra.Command {
	var address string
	var ready bool
	c := &cobra.Command{
		Use: "health", Short: "Ask a running sightline whether it is well (for container health checks)",
		Example: "  sightline health\n  sightline health --ready",
		RunE: func(c *cobra.Command, _ []string) error {
			path := "/healthz"
			if ready {
				path = "/readyz"
			}
			answer, err := ask("http://" + address + path)
			if err == nil {
				_, err = fmt.Fprintln(c.OutOrStdout(), answer)
			}
			return err
		},
	}
	c.Flags().StringVar(&address, "address", "127.0.0.1:9640", "where it listens (http.listen)")
	c.Flags().BoolVar(&ready, "ready", false, "ask whether every model is warm and has answered a frame")
	return c
}

func ask(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", url, err)
	}
	text := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	return text, nil
}
