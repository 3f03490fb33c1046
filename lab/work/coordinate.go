package work

import (
	"context"
	"errors"
)

// Coordinate spreads a run and returns when every trial has a verdict or was given up, ctx ends, the sink fails or Abort says so.
func Coordinate(ctx context.Context, o Options) (Progress, error) {
	return Progress{}, errors.ErrUnsupported
}
