package punch

// Meets says whether what this side sends at once to the endpoint where the rendezvous sees the peer arrives, as far as both
// classes show: what is long and has another way need not go there otherwise. Where a class is not known, it may.
func (a *Agent) Meets() bool {
	mine, theirs := a.cfg.Mine, a.cfg.Theirs
	if a.part != plain || mine.IsZero() || theirs.IsZero() {
		return a.part == plain
	}
	viewer, camera := mine, theirs
	if a.cfg.Role == Camera {
		viewer, camera = theirs, mine
	}
	if v, c := decide(viewer, camera, a.cfg.Policy.Has(MethodSilence)); v == silent || c == silent {
		return true // the other one waits for it
	}
	return meet(viewer, camera)
}

// Promising says whether a search that found nothing is worth being begun again: the endpoints that the rendezvous sees are enough, as far
// as both classes show, so that what was sent may have been lost. What was guessed in vain is not.
func (a *Agent) Promising() bool { return a.cfg.Policy.Direct && (a.part == silent || a.Meets()) }
