package adapter

import "context"

// actions are what a camera that runs can be asked for.
var actions = []string{"reset", "transfer"}

// ask has the camera that runs beside do the action.
func (e environment) ask(ctx context.Context) error { return unsupportedf("not yet") }
