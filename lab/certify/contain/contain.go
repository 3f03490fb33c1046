package contain

import "context"

// Run runs a program on its host and waits until it and all that it started have ended. It ends when the program does, when ctx is
// done, or when a limit is reached; with ctx and Spec.Wall it is asked first, by SIGTERM. Events of the lab may kill it and start
// it again, with its folder as it is then. The error is the lab's or the Spec's, never the program's.
func Run(ctx context.Context, s Spec) (*Report, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	return nil, nil
}
