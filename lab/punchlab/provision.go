package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/spf13/cobra"
)

// provisionFlags are what the maker says of a batch.
type provisionFlags struct {
	maker, out, list, rendezvousKey, valid string
	count                                  int
	hosts, revoke, restore                 []string
	printMaker, asJSON                     bool
}

func provisionCommand() *cobra.Command {
	var f provisionFlags
	c := &cobra.Command{
		Use:   "provision",
		Short: "Make cameras' keys, certificates and labels, as their maker; revoke them",
		Long: `Make a batch of cameras. Each gets a folder, named by its UID, with what is put on the camera (camera.key, camera.crt,
label.txt) and its label to print (label.png, label.svg). 'punchlab camera --dir' runs from such a folder. Key and label are
secrets: their files are for you alone (0600); DIR/batch.csv lists the batch without them.

A batch that was interrupted goes on where it stopped when the same command is given again: --count is how many cameras DIR
shall hold. Nothing is left half-written.

The maker's key certifies cameras. It is made if missing; keep it, and a copy, where nobody gets at it. A rendezvous that is
given its public half serves that maker's cameras alone. --revoke takes cameras out again, by a list that rendezvous servers
are given.`,
		Example: `  punchlab provision --maker maker.key --count 100 --rendezvous r.example.com --rendezvous-key KEY --out batch-1
  punchlab provision --maker maker.key --print-maker > maker.pub
  punchlab provision --maker maker.key --revoke 7ZK3-Q2MD-90XV-5R1T-HC8E-WB4N-6YGA --list revoked.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.maker == "":
				return usagef("--maker FILE is missing: the maker's key certifies the cameras")
			case f.printMaker:
				return printMaker(f.maker)
			case len(f.revoke)+len(f.restore) > 0:
				return f.runRevoke()
			}
			return f.run(cmd)
		},
	}
	c.Flags().StringVar(&f.maker, "maker", "", "`file` of the maker's key; made if missing")
	c.Flags().BoolVar(&f.printMaker, "print-maker", false, "print the maker's public key, which rendezvous servers need, and exit")
	c.Flags().IntVar(&f.count, "count", 1, "how many cameras the batch shall have")
	c.Flags().StringSliceVar(&f.hosts, "rendezvous", nil, "`HOST[:PORT]` of the rendezvous; up to four, tried in this order")
	c.Flags().StringVar(&f.rendezvousKey, "rendezvous-key", "", "the rendezvous' public `key`, or a file with it ('punchlab rendezvous --print-key')")
	c.Flags().StringVar(&f.out, "out", "", "`folder` of the batch")
	c.Flags().StringVar(&f.valid, "valid", "10y", "how long certificates hold: years (10y), days (90d) or a `duration`; 0: for ever")
	c.Flags().StringSliceVar(&f.revoke, "revoke", nil, "`UID` of a camera to revoke; several by commas")
	c.Flags().StringSliceVar(&f.restore, "restore", nil, "`UID` of a camera to take off the list again")
	c.Flags().StringVar(&f.list, "list", "revoked.txt", "`file` of the list of revocations; made if missing")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a line of JSON for each camera")
	return c
}

func printMaker(path string) error {
	k, err := makerKey(path)
	if err != nil {
		return err
	}
	fmt.Println(k.Public())
	return nil
}

// makerKey loads the maker's key, and makes one where there is none.
func makerKey(path string) (identity.MakerKey, error) {
	k, err := identity.LoadMakerKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, asUsage(err)
	}
	if k, err = identity.NewMakerKey(rand.Reader); err != nil {
		return k, labError(err)
	}
	if err := identity.SaveMakerKey(path, k); err != nil {
		return k, usage(err)
	}
	fmt.Fprintf(os.Stderr, "punchlab: made a new maker's key, %s: keep it safe, and a copy\n", path)
	return k, nil
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usage(err)
}

// run makes the batch.
func (f *provisionFlags) run(cmd *cobra.Command) error {
	b, err := f.batch()
	if err != nil {
		return usage(err)
	}
	if b.maker, err = makerKey(f.maker); err != nil {
		return err
	}
	return b.make(cmd.Context(), f.count, func(c provisioned) error {
		if f.asJSON {
			return writeJSON(os.Stdout, c)
		}
		fmt.Println(c.Folder)
		return nil
	})
}

// batch checks the flags before anything is written.
func (f *provisionFlags) batch() (b batch, err error) {
	switch {
	case f.out == "":
		return b, errors.New("--out FOLDER is missing: where the cameras' files go")
	case f.count < 1:
		return b, fmt.Errorf("--count %d: at least 1", f.count)
	case len(f.hosts) == 0:
		return b, errors.New("--rendezvous HOST is missing: the label says where the camera is found")
	case f.rendezvousKey == "":
		return b, errors.New("--rendezvous-key KEY is missing: 'punchlab rendezvous --print-key' prints it")
	}
	b.dir = f.out
	if b.valid, err = parseValid(f.valid); err != nil {
		return b, fmt.Errorf("--valid %w", err)
	}
	if b.label.RendezvousKey, err = identity.ParsePublicKey(textOrFile(f.rendezvousKey)); err != nil {
		return b, fmt.Errorf("--rendezvous-key: %w; it may also name a file with the key", err)
	}
	for _, h := range f.hosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), strconv.Itoa(rendezvousPort))
		}
		b.label.Rendezvous = append(b.label.Rendezvous, strings.ToLower(h))
	}
	probe := b.label
	probe.Key = probe.RendezvousKey // any will do
	if err := probe.Validate(); err != nil {
		return b, fmt.Errorf("--rendezvous: %w", err)
	}
	b.now, err = soundClock()
	return b, err
}

// soundClock returns the time, unless it is before this program existed.
func soundClock() (time.Time, error) {
	now := time.Now()
	if now.Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		return now, fmt.Errorf("this machine's clock says %s: set it, for what a maker signs carries its date", now.Format(time.DateOnly))
	}
	return now, nil
}

// textOrFile returns the content of the file that s names, and s itself where there is none.
func textOrFile(s string) string {
	if b, err := os.ReadFile(s); err == nil {
		s = string(b)
	}
	return strings.TrimSpace(s)
}

// parseValid reads "10y", "90d" or a duration. Years have 365.25 days. 0: for ever.
func parseValid(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	for unit, length := range map[string]time.Duration{"y": 365*day + day/4, "d": day} {
		text, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if d := n * float64(length); err == nil && d > 0 && d < math.MaxInt64/2 {
			return time.Duration(d), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 0 && d < time.Minute {
		return 0, fmt.Errorf("%q: write years (10y), days (90d), a duration of a minute or more (36h), or 0 for ever; 100y at most", s)
	}
	return d, nil
}

// runRevoke writes the next list of revocations.
func (f *provisionFlags) runRevoke() error {
	k, err := identity.LoadMakerKey(f.maker)
	if err != nil {
		return usage(err)
	}
	add, err := parseUIDs(f.revoke)
	if err != nil {
		return usagef("--revoke: %w", err)
	}
	remove, err := parseUIDs(f.restore)
	if err != nil {
		return usagef("--restore: %w", err)
	}
	held, err := heldList(f.list, k.Public())
	if err != nil {
		return usage(err)
	}
	for _, u := range remove {
		if !held.Contains(u) {
			return usagef("--restore %v: it is not on the list %s", u, f.list)
		}
	}
	uids := slices.DeleteFunc(append(held.UIDs(), add...), func(u identity.UID) bool { return slices.Contains(remove, u) })
	now, err := soundClock()
	if err != nil {
		return usage(err)
	}
	if now.Unix() < held.Issued { // the newer list takes its place all the same, and a wrong date with it
		fmt.Fprintf(os.Stderr, "punchlab: warning: the list so far is of %s, this machine's clock says %s: one of them is wrong\n", day(held.Issued),
			day(now.Unix()))
	}
	next := identity.NewRevocationList(held.Number+1, now.Unix(), uids)
	if err := identity.WriteFile(f.list, k.Revoke(next), 0o644); err != nil {
		return labError(err)
	}
	fmt.Fprintf(os.Stderr, "punchlab: list %d revokes %d cameras: give %s to your rendezvous servers\n", next.Number, len(next.UIDs()), f.list)
	if f.asJSON {
		return writeJSON(os.Stdout, map[string]any{"list": f.list, "number": next.Number, "revoked": len(next.UIDs())})
	}
	fmt.Println(f.list)
	return nil
}

// heldList reads the list so far.
func heldList(path string, maker identity.MakerPublic) (*identity.RevocationList, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity.NewRevocationList(0, 0, nil), nil
	}
	if err != nil {
		return nil, err
	}
	l, err := identity.ParseRevocationList(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if l.Maker != maker {
		return nil, fmt.Errorf("%s is another maker's list, of the key %v: name another file by --list", path, l.Maker)
	}
	return l, nil
}

func parseUIDs(texts []string) (uids []identity.UID, err error) {
	for _, s := range texts {
		u, err := identity.ParseUID(filepath.Base(s)) // a camera's folder bears its name
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		uids = append(uids, u)
	}
	return uids, nil
}
