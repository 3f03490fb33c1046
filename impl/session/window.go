package session

const windowWords = ReplayWindow / 64

// window remembers which counters were accepted (RFC 6479: a ring of words, so
// that advancing clears whole words and shifts nothing). One word more than the
// window is wide, because the newest word is partly ahead of the greatest counter.
type window struct {
	next uint64 // greatest accepted + 1; 0: none yet
	ring [windowWords + 1]uint64
}

// fresh says whether a counter could be accepted.
func (w *window) fresh(counter uint64) bool {
	if counter >= w.next {
		return true
	}
	if w.next-counter > ReplayWindow {
		return false
	}
	word, bit := w.at(counter)
	return *word&bit == 0
}

// accept marks an authenticated counter, which must be fresh.
func (w *window) accept(counter uint64) {
	if counter >= w.next {
		w.advance(counter)
	}
	word, bit := w.at(counter)
	*word |= bit
}

// advance clears the words that the window enters.
func (w *window) advance(counter uint64) {
	first := w.next / 64
	if w.next%64 != 0 {
		first++ // the word that holds next−1 stays
	}
	last := counter / 64
	if last >= first+uint64(len(w.ring)) {
		first = last - uint64(len(w.ring)) + 1
	}
	for i := first; i <= last; i++ {
		w.ring[i%uint64(len(w.ring))] = 0
	}
	w.next = counter + 1
}

func (w *window) at(counter uint64) (*uint64, uint64) {
	return &w.ring[counter/64%uint64(len(w.ring))], 1 << (counter % 64)
}
