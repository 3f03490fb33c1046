package link

// maxFlows bounds the memory of a scan over many addresses; flows beyond it share places.
const maxFlows = 4096

// flow is what a Queue remembers of one flow.
type flow struct {
	id    uint64
	n     uint64 // packets so far
	epoch uint32 // of the table when this entry was made; others are empty
	bad   bool   // Gilbert–Elliott state
}

// flows is a hash table with open addressing that is emptied by counting its epoch up.
type flows struct {
	slots []flow
	used  int
	epoch uint32
}

func (t *flows) reset() {
	t.used = 0
	t.epoch++
	if t.epoch == 0 { // after 2³² resets old entries would look new
		clear(t.slots)
		t.epoch = 1
	}
}

// get finds the flow or makes it. The pointer is valid until the next call.
func (t *flows) get(id uint64) *flow {
	if 2*t.used >= len(t.slots) && len(t.slots) < 2*maxFlows {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	home := Mix(id) & mask
	for i := home; ; i = (i + 1) & mask {
		s := &t.slots[i]
		switch {
		case s.epoch != t.epoch:
			if t.used >= maxFlows {
				return &t.slots[home]
			}
			t.used++
			*s = flow{id: id, epoch: t.epoch}
			return s
		case s.id == id:
			return s
		}
	}
}

func (t *flows) grow() {
	old := t.slots
	t.slots = make([]flow, max(8, 2*len(old)))
	if t.epoch == 0 {
		t.epoch = 1
	}
	mask := uint64(len(t.slots) - 1)
	for _, s := range old {
		if s.epoch != t.epoch {
			continue
		}
		i := Mix(s.id) & mask
		for t.slots[i].epoch == t.epoch {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}
