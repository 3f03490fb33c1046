package soak

import (
	"context"
	"errors"
	"time"
)

var errInert = errors.New("not written yet")

func hijack(context.Context, Setup, *tally) error                  { return errInert }
func capture(context.Context, Setup, *tally) error                 { return errInert }
func downgrade(context.Context, Setup, *tally) error               { return errInert }
func enumerate(context.Context, Setup, *tally) error               { return errInert }
func reflect(context.Context, Setup, time.Duration) (Table, error) { return Table{}, errInert }
