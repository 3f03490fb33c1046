package contain

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// maxChanges is how many are listed.
const maxChanges = 100

// changes lists what the program has written outside its folder. /dev/shm and what was only read are none.
func (t *tree) changes() (list []Change, more int) {
	for i, name := range t.overlays {
		root := strconv.Itoa(i)
		_ = fs.WalkDir(t.upper.FS(), root, func(p string, d fs.DirEntry, err error) error {
			if p == root || d == nil {
				return nil
			}
			where := path.Join(name, strings.TrimPrefix(p, root))
			if c, ok := t.change(where, d); ok {
				list = append(list, c)
			}
			return nil
		})
	}
	entries, _ := os.ReadDir("/")
	for _, e := range entries {
		if !t.top[e.Name()] {
			list = append(list, Change{Path: "/" + e.Name(), What: "created"})
		}
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	if len(list) > maxChanges {
		return list[:maxChanges], len(list) - maxChanges
	}
	return list, 0
}

// change says what became of a path, an entry in an overlay's upper folder; false: nothing, it is only on the way to a change.
func (t *tree) change(where string, d fs.DirEntry) (Change, bool) {
	c := Change{Path: where, What: "created"}
	info, err := d.Info()
	if err != nil {
		return c, true
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0 {
		c.What = "removed" // overlayfs's whiteout
		return c, true
	}
	if info.Mode().IsRegular() {
		c.Size = info.Size()
	}
	before, err := t.old.Lstat(strings.TrimPrefix(where, "/"))
	switch {
	case err != nil:
		return c, true
	case before.IsDir() && info.IsDir():
		return c, false
	}
	c.What = "changed"
	return c, true
}
