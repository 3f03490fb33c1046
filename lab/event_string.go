package lab

import "fmt"

// String says what happens, as a record has it: "reboot camera for 2s", "move viewer to lte".
func (e Event) String() string {
	s := e.Do
	for _, name := range []string{e.Site, e.Host} {
		if name != "" {
			s += " " + name
		}
	}
	switch {
	case e.Between[1] != "":
		s += " between " + e.Between[0] + " and " + e.Between[1]
	case e.Between[0] != "":
		s += " of " + e.Between[0]
	case e.To != "":
		s += " to " + e.To
	case e.NAT != "":
		s += " to " + e.NAT
	case e.Link != "":
		s += " to " + e.Link
	case e.MTU != 0:
		s += fmt.Sprintf(" at %d bytes", e.MTU)
	}
	if e.For > 0 {
		s += " for " + e.For.String()
	}
	return s
}
