// Command tracegen prints a synthetic mahimahi trace (see link.Synthetic):
//
//	go run ./lab/link/tracegen lte-drive up 1 > traces/lte-drive-up.trace
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/punchlab/punchlab/lab/link"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tracegen:", err)
		os.Exit(64)
	}
}

func run(args []string) error {
	if len(args) != 3 || args[1] != "up" && args[1] != "down" {
		return errors.New("give a shape, up or down, and a seed: tracegen lte-drive up 1")
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("read seed: %w", err)
	}
	t, err := link.Synthetic(args[0], args[1] == "up", seed)
	if err != nil {
		return err
	}
	b, err := t.AppendText(nil)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}
