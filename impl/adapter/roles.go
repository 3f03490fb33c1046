package adapter

import (
	"context"
	"log/slog"
)

func (e environment) camera(ctx context.Context, log *slog.Logger) error {
	return unsupportedf("not yet")
}

func (e environment) viewer(ctx context.Context, log *slog.Logger) error {
	return unsupportedf("not yet")
}

func (e environment) serve(ctx context.Context, log *slog.Logger) error {
	return unsupportedf("not yet")
}

func (e environment) relay(ctx context.Context, log *slog.Logger) error {
	return unsupportedf("not yet")
}
