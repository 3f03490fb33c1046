// Package steady has rapid draw the same examples in every run of a test: a gate that passed passes again, and what fails
// fails for everyone. PUNCHLAB_SOAK asks for others (make soak): what they find becomes a test of its own. A test file
// imports it for its effect; the flag -rapid.seed still goes before it.
package steady

import (
	"flag"
	"os"

	_ "pgregory.net/rapid" // defines the flag
)

func init() {
	if os.Getenv("PUNCHLAB_SOAK") == "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}
