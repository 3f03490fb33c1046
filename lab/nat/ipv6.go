package nat

import "time"

// translate6 is Translate for IPv6. This one refuses it all.
func (t *Table) translate6(now time.Duration, from Side, b []byte) Verdict {
	return Verdict{Reason: Unsupported}
}

// forget6 empties what translate6 keeps.
func (t *Table) forget6() {}
