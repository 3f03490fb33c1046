package punch

import "time"

// quick are the first punches. A lost first one costs 20 ms, and five fit the budget of an unconfirmed address; the
// last two are far enough apart to outlive a burst of loss.
var quick = []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond}

// few is the budget of a policy that guesses nothing.
var few = Budget{Packets: 128, Bytes: 32 << 10, Rate: 200}

// direct is hole punching alone (Ford, Srisuresh, Kegel 2005), in one flight.
var direct = Policy{
	Name:    "direct",
	Summary: "hole punching alone; fails where the NATs do not allow it",
	Direct:  true,
	Methods: classic,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	GiveUp:  3 * time.Second,
	Budget:  few,
	Blind:   256 << 10,
}
