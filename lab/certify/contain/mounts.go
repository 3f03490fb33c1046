package contain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is the file system that a program sees, in the making. While it is made, the root is a file system in memory:
//
//	/old     what was the root
//	/upper   /0, /1, …: what the program writes, for each overlay
//	/work    the same, for the kernel's use
//	/new     the program's root
//	/empty   nothing
type tree struct {
	order    *order
	mounts   []string // where something was mounted before
	userns   bool     // overlays must use extended attributes that an ordinary user may write
	overlays []string // "/usr", …: number i has its changes in upper/i
	readOnly []string
	lacks    []string
	fewer    bool // PIDs: the kernel bounds them

	old, upper *os.Root        // open, though neither has a path in the end
	top        map[string]bool // names in the root at the beginning
}

// newTree makes the file system and moves this process into it.
func newTree(o *order) (*tree, error) {
	t := &tree{order: o, top: map[string]bool{}}
	for _, step := range []func() error{t.look, t.base, t.places, t.names, t.proc, t.sys, t.dev, t.hide, t.folder, t.open, t.enter} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("make the program's file system: %w", err)
		}
	}
	return t, nil
}

// look reads what is mounted.
func (t *tree) look() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 {
			t.mounts = append(t.mounts, unescape(f[4]))
		}
	}
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	t.userns = !slices.Equal(strings.Fields(string(m)), []string{"0", "0", "4294967295"})
	return nil
}

// unescape undoes mountinfo's \040.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mount is mount(2) with an error that says what was to be mounted.
func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", or(kind, source), target, err)
	}
	return nil
}

// maxInodes is how many entries a program may make outside its folder.
const maxInodes = 20_000

// base puts a file system in memory in the root's place. It is mounted on the program's folder, which is there and whose contents
// come to light again when the mount moves away.
func (t *tree) base() error {
	dir := t.order.Folder
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	size := fmt.Sprintf("mode=755,size=%d,nr_inodes=%d", t.order.Limits.Outside, maxInodes)
	if err := mount("contain", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, size); err != nil {
		return err
	}
	for _, d := range []string{"old", "upper", "work", "new", "empty"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := unix.PivotRoot(dir, filepath.Join(dir, "old")); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return mount("contain", "/new", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k,nr_inodes=1000")
}

// places shows what is in the old root: folders as overlays, or read-only.
func (t *tree) places() error {
	entries, err := os.ReadDir("/old")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, from, to := e.Name(), path.Join("/old", e.Name()), path.Join("/new", e.Name())
		switch {
		case slices.Contains([]string{"proc", "sys", "dev"}, name):
		case name == "run" && e.IsDir(): // where the machine's daemons listen
			if err := t.place("/run", "/empty", to); err != nil {
				return err
			}
		case e.Type() == fs.ModeSymlink:
			link, err := os.Readlink(from)
			if err == nil {
				err = os.Symlink(link, to)
			}
			if err != nil {
				return err
			}
		case e.IsDir():
			if err := t.place("/"+name, from, to); err != nil {
				return err
			}
		case e.Type().IsRegular():
			if err := os.WriteFile(to, nil, 0o644); err != nil {
				return err
			}
			if err := t.refuse("/"+name, from, to); err != nil {
				return err
			}
		}
	}
	if t.order.NoOverlay || len(t.overlays) == 0 {
		t.lacks = append(t.lacks, "No overlay file system: what the program would have written outside its folder was refused, and is not known.")
	}
	return nil
}

// place shows a folder.
func (t *tree) place(name, from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	below := slices.ContainsFunc(t.mounts, func(m string) bool { return strings.HasPrefix(m, name+"/") && from != "/empty" })
	if below || t.order.NoOverlay || strings.ContainsAny(name, `:,\`) {
		return t.refuse(name, from, to)
	}
	n := strconv.Itoa(len(t.overlays))
	upper, work := path.Join("/upper", n), path.Join("/work", n)
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	if err := like(from, upper); err != nil {
		return err
	}
	data := "lowerdir=" + from + ",upperdir=" + upper + ",workdir=" + work
	if t.userns {
		data += ",userxattr"
	}
	if err := mount("overlay", to, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return t.refuse(name, from, to)
	}
	t.overlays = append(t.overlays, name)
	return nil
}

// like gives a folder the mode and, where that is possible, the owner of another: an overlay's root has those of the upper one.
func like(from, to string) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return err
	}
	_ = os.Chown(to, int(st.Uid), int(st.Gid)) // an owner that this user namespace does not have stays nobody's
	return unix.Chmod(to, st.Mode&0o7777)
}

// refuse shows a folder or a file, and what is mounted below it, read-only.
func (t *tree) refuse(name, from, to string) error {
	t.readOnly = append(t.readOnly, name)
	if err := mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return readOnly(to)
}

// readOnly makes a mount and all below it so.
func readOnly(at string) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("make %s read-only (Linux 5.12 or later): %w", at, err)
	}
	return nil
}

// names puts the lab's hosts(5) in the place of the machine's. Mounted over it, it is no change that the program made.
func (t *tree) names() error {
	const at = "/new/etc/hosts"
	if t.order.Hosts == "" {
		return nil
	}
	if _, err := os.Stat(at); err != nil {
		t.lacks = append(t.lacks, "No /etc/hosts on this machine: the program cannot resolve the lab's names.")
		return nil
	}
	if err := os.WriteFile("/hosts", []byte(t.order.Hosts), 0o644); err != nil {
		return err
	}
	if err := mount("/hosts", at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return readOnly(at)
}

// tunable are the parts of /proc through which root changes the machine.
var tunable = []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"}

// proc shows the program's own processes, or, where the kernel refuses that, everybody's.
func (t *tree) proc() error {
	const at = "/new/proc"
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	err := unix.EPERM
	if !t.order.NoProc {
		err, _ = unix.Mount("proc", at, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "").(unix.Errno)
	}
	if err != 0 {
		t.lacks = append(t.lacks, fmt.Sprintf("A /proc of its own was refused (%v): the program sees the lab's processes.", err))
		if err := mount("/old/proc", at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		return readOnly(at)
	}
	t.fewerPIDs(at)
	for _, name := range tunable {
		p := path.Join(at, name)
		if _, err := os.Lstat(p); err != nil {
			continue
		}
		if err := mount(p, p, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		if err := readOnly(p); err != nil {
			return err
		}
	}
	return nil
}

// sys shows the devices of the program's network, or nothing.
func (t *tree) sys() error {
	if err := os.Mkdir("/new/sys", 0o755); err != nil {
		return err
	}
	if unix.Mount("sysfs", "/new/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") != nil {
		t.lacks = append(t.lacks, "A /sys of its own was refused: the program finds it empty.")
		return nil
	}
	return readOnly("/new/sys")
}

// dev has what a program may expect everywhere.
func (t *tree) dev() error {
	const at = "/new/dev"
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	if err := mount("dev", at, "tmpfs", unix.MS_NOSUID, "mode=755,size=64k,nr_inodes=100"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		to := path.Join(at, name)
		if err := os.WriteFile(to, nil, 0o666); err != nil {
			return err
		}
		if err := mount(path.Join("/old/dev", name), to, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for name, link := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(link, path.Join(at, name)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Mkdir(at+"/shm", 0o755), os.Mkdir(at+"/pts", 0o755)); err != nil {
		return err
	}
	shm := fmt.Sprintf("mode=1777,size=%d,nr_inodes=1000", min(t.order.Limits.Memory, 64<<20))
	if err := mount("shm", at+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, shm); err != nil {
		return err
	}
	// A program without pseudo-terminals is rare, and so is a machine without.
	_ = unix.Mount("devpts", at+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY} // itself alone: no file may be made in it
	return unix.MountSetattr(unix.AT_FDCWD, at, 0, attr)
}

// hide covers folders, and makes what is to be seen in them: the program's folder, which is mounted later, and files.
func (t *tree) hide() error {
	for _, dir := range t.order.Hide {
		at := path.Join("/new", dir)
		if _, err := os.Lstat(at); err != nil {
			continue // below another one that is hidden, or that is shown empty
		}
		if err := mount("hidden", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k,nr_inodes=100"); err != nil {
			return err
		}
		if below(t.order.Folder, dir) {
			if err := os.MkdirAll(path.Join("/new", t.order.Folder), 0o755); err != nil {
				return err
			}
		}
		for _, name := range t.order.Show {
			if !below(name, dir) || below(name, t.order.Folder) {
				continue
			}
			if err := t.show(name); err != nil {
				return err
			}
		}
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY} // itself alone: the program's folder is not
		if err := unix.MountSetattr(unix.AT_FDCWD, at, 0, attr); err != nil {
			return fmt.Errorf("make %s read-only: %w", at, err)
		}
	}
	return nil
}

// show shows a file in a folder that is hidden.
func (t *tree) show(name string) error {
	at := path.Join("/new", name)
	if err := os.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(at, nil, 0o644); err != nil {
		return err
	}
	if err := mount(path.Join("/old", name), at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return readOnly(at)
}

// below reports whether a path is that of a folder, or of something in it.
func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// folder shows the program's folder where it has always been, writable.
func (t *tree) folder() error {
	at := path.Join("/new", t.order.Folder)
	if err := mount(path.Join("/old", t.order.Folder), at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("%w: the program's folder can't be below /proc, /sys, /dev or /run", err)
	}
	return nil
}

// open keeps what is to be looked at in the end.
func (t *tree) open() (err error) {
	if t.old, err = os.OpenRoot("/old"); err != nil {
		return err
	}
	if t.upper, err = os.OpenRoot("/upper"); err != nil {
		return err
	}
	entries, err := os.ReadDir("/new")
	for _, e := range entries {
		t.top[e.Name()] = true
	}
	return err
}

// enter makes the new root the only one: pivot_root(2), "pivot_root(".", ".")".
func (t *tree) enter() error {
	if err := os.Chdir("/new"); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}
