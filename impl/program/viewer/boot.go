package viewer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// Boots numbers the viewers that are made with a key, in a file beside it. The number stands for the time in their handshakes:
// a host whose clock was years ahead for a day would be refused for years once it is right, as one who repeats what
// others have recorded.
//
//	number = max(the file's + 1, minutes since 2020)
//
// It follows the clock as well, so that a file that is lost costs nothing while the clock is right.
func Boots(file string, now func() time.Time) func() (uint64, error) {
	return func() (uint64, error) {
		n, err := nextBoot(file, now())
		if err != nil {
			return 0, fmt.Errorf("number this start in %s: %w", file, err)
		}
		return n, nil
	}
}

// beginning is when numbers begin. They have 31 bits, which end in the year 6103 (session.Stamp).
var beginning = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

const maxBoot = 1<<31 - 1

func nextBoot(file string, now time.Time) (uint64, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return 0, err
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return 0, err
	}
	n := uint64(max(now.Sub(beginning)/time.Minute, 1))
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	// What cannot be read as a number is as good as lost.
	if last, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31); err == nil {
		n = max(n, last+1)
	}
	n = min(n, maxBoot)
	return n, identity.WriteFile(file, fmt.Appendln(nil, n), 0o600)
}
