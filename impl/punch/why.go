package punch

import (
	"fmt"
	"math"

	"github.com/punchlab/punchlab/impl/wire"
)

// Obstacle is why a search found no direct path, as far as both classes show: a clause that goes on after "nothing was
// heard, so …"; for records and people.
func (a *Agent) Obstacle() string {
	mine, theirs := a.told.mine, a.told.theirs
	switch {
	case len(a.cands) == 0:
		return fmt.Sprintf("strategy %s knows no address of the peer's to try", a.cfg.Policy.Name)
	case mine.IsZero() || theirs.IsZero():
		return "a NAT between filters by port or maps by destination"
	}
	switch a.part {
	case opens, probes:
		return fmt.Sprintf("of the ports that a NAT may have given at random (%d) none was met by a guess", a.drawn())
	case shows, guesses, mirrors:
		return "a NAT gave another port than its order let expect"
	}
	dm, dt := dependent(mine), dependent(theirs)
	switch {
	case meet(mine, theirs):
		return "a NAT behaves otherwise towards the peer than it did towards servers, or a firewall is between"
	case dm && dt && told(mine) != told(theirs):
		return "both NATs give each destination another port, one of them at random, and let in nobody else"
	case dm && dt && !told(mine):
		return fmt.Sprintf("both NATs give each destination a random port: a direct path would take about %s probes a side", hopeless(mine, theirs))
	case dm || dt:
		return "a NAT gives each destination another port, and the other one lets in only ports that it knows"
	}
	return "a NAT between filters by port or maps by destination"
}

// drawn is among how many ports the guesses were.
func (a *Agent) drawn() int {
	if a.part == opens {
		return among(a.cfg.Mine)
	}
	return among(a.cfg.Theirs)
}

// hopeless is how many probes each side would have to send for a pair of random ports to meet at 99 %, to two digits.
func hopeless(x, y wire.Class) string {
	n := math.Sqrt(math.Log(100) * float64(among(x)) * float64(among(y)))
	step := math.Pow(10, math.Floor(math.Log10(n))-1)
	n = math.Round(n/step) * step
	if n < 1000 {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%d,%03d", int(n)/1000, int(n)%1000)
}
