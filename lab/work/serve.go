package work

import (
	"context"
	"errors"
)

// Serve works on jobs until ctx ends (and, with Once, until the first one is over). A job that this build does not reproduce, or
// whose versions are others, is refused and left to other workers; with Once or Run that is the error.
func Serve(ctx context.Context, o ServeOptions) error {
	return errors.ErrUnsupported
}
