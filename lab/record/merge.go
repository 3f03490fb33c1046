package record

import "errors"

// Merged says what Merge made.
type Merged struct {
	Trials  int       // records in the merged run
	Added   int       // of them, those that this call wrote
	Missing []Missing // trials without a verdict; none: the run is complete
}

// Missing are trials of one cell that no part has a verdict of.
type Missing struct {
	Cell   int
	Trials []int // in order
	Shard  Shard // that should have had them; the zero value where the parts name no shards
}

// Merge makes one run of its parts in out: of shards that ran on different machines, or of runs that were each cut short. The parts must be of
// one experiment and one build: another digest, seed, engine, number of trials or commit is refused, before anything is written. A trial that
// two parts have is taken once where they agree on it (but for its times) and refused where not. Trials that none has are
// named in Missing, and the run then reads as incomplete. Machines may differ: Manifest.Workers names each.
//
// What out already holds of the same experiment is kept: a merge that was interrupted goes on, and one can be given the parts that came
// later.
func Merge(out string, parts []string) (Merged, error) {
	return Merged{}, errors.New("merge runs: not in this build")
}
