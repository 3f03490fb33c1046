package stage

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// leastSpare is how much of the disk captures leave to others, bytes: a camera may send as fast as it can, for hours.
const leastSpare = 512 << 20

// spare looks whether there is room on the disk.
type spare struct {
	stop, done chan struct{}
	full       bool // once done
}

// newSpare looks every half second whether at least so many bytes are free where a folder is. Once they are not it says so, and ends.
func newSpare(folder string, least uint64, full func(error)) *spare {
	s := &spare{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			var st unix.Statfs_t
			if err := unix.Statfs(folder, &st); err == nil && st.Bavail*uint64(st.Bsize) < least {
				s.full = true
				full(fmt.Errorf("%d MiB are free at %s, and %d have to be", st.Bavail*uint64(st.Bsize)>>20, folder, least>>20))
				return
			}
			select {
			case <-tick.C:
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

// close ends it, and reports whether there was no more room. It is harmless to nil.
func (s *spare) close() (full bool) {
	if s == nil {
		return false
	}
	close(s.stop)
	<-s.done
	return s.full
}
