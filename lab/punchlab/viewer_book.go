package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/label"
	"github.com/punchlab/punchlab/impl/program/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/spf13/cobra"
)

// account loads the token that --token names; nil: none.
func (f *viewerFlags) account() ([]byte, error) {
	if f.token == "" {
		return nil, nil
	}
	t, err := identity.LoadToken(f.token)
	if err != nil {
		return nil, usagef("--token: %w", err)
	}
	return t, nil
}

// boots numbers the viewers that are made with the key.
func (f *viewerFlags) boots() func() (uint64, error) { return viewer.Boots(f.key+".boot", time.Now) }

// open opens the book of cameras, and logs in where they are.
func (f *viewerFlags) open(observe func(any)) (viewer.Session, error) {
	k, err := loadKey(f.key)
	if err != nil {
		return nil, err
	}
	token, err := f.account()
	if err != nil {
		return nil, err
	}
	v, err := viewer.Use(viewer.Options{
		Key: k, Book: f.book, TLS: rendezvousTLS, Name: f.as, Token: token, Strategy: f.strategy, NoLAN: f.noLAN, FPS: f.fps,
		Observe: observe, Boot: f.boots(),
	})
	if err != nil {
		return nil, usage(err)
	}
	return v, nil
}

// with opens the book, and closes it.
func (f *viewerFlags) with(do func(v viewer.Session) error) error {
	v, err := f.open(nil)
	if err != nil {
		return err
	}
	err = do(v)
	if e := v.Close(); e != nil {
		err = errors.Join(err, labError(e))
	}
	return err
}

// noConnection turns what a camera or the rendezvous has refused into an exit code.
func noConnection(err error) error {
	var r *viewer.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return &exitError{exitFail, fmt.Errorf("%w%s", err, whatNext[r.Code])}
	case errors.Is(err, context.DeadlineExceeded):
		return &exitError{exitFail, err}
	}
	return usage(err)
}

// whatNext is what to look at when there is no connection, beside what the code itself says.
var whatNext = map[wire.Code]string{wire.CodeRendezvousSilent: ": " + isItThere}

// askWithin is how long a camera is asked for an answer.
const askWithin = 30 * time.Second

func viewerAddCommand(f *viewerFlags) *cobra.Command {
	var o viewer.AddOptions
	c := &cobra.Command{
		Use:   "add PHOTO|LABEL|FILE|-",
		Short: "Pair with a camera by its label or an invitation, and remember it",
		Long: `Pair with a camera: by a photo of its label or invitation, by the text, by a file with it, or from standard input (-). The camera
must be online: it is asked once, and says what this viewer may do there. The first who adds a camera is its owner.`,
		Example: `  punchlab viewer add photo.jpg --name door
  punchlab viewer add - < label.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := scanLabel(args[0], cmd.InOrStdin())
			if err != nil {
				return usage(err)
			}
			return f.with(func(v viewer.Session) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), max(askWithin, o.Wait))
				defer cancel()
				cam, err := v.Add(ctx, l, o)
				if err != nil {
					return noConnection(err)
				}
				if f.json {
					return writeJSON(os.Stdout, cameraJSON(cam))
				}
				fmt.Printf("added %s: %s of camera %v, reached by %s\n", cam.Name, roleName(cam.Role), cam.UID, pathWords(cam.LastPath))
				return nil
			})
		},
	}
	c.Flags().StringVar(&o.Name, "name", "", "what to call the camera (default: camera, camera-2 …)")
	c.Flags().DurationVar(&o.Wait, "wait", 0, "keep asking so long for a camera that is offline")
	return c
}

// scanLabel reads a label: a photo, the text itself, a file with it, or standard input.
func scanLabel(arg string, stdin io.Reader) (identity.Label, error) {
	if prefix, _, text := strings.Cut(strings.ToUpper(strings.TrimSpace(arg)), "/"); text && (prefix == "PL1" || prefix == "PI1") {
		return identity.ParseLabel(arg)
	}
	in := stdin
	if arg != "-" {
		file, err := os.Open(arg)
		if err != nil {
			return identity.Label{}, fmt.Errorf("%w; give a photo, the label's text, or a file with it", err)
		}
		defer file.Close()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, label.MaxFile+1))
	if err != nil {
		return identity.Label{}, err
	}
	if l, err := identity.ParseLabel(string(b[:min(len(b), 2*identity.MaxLabel)])); err == nil {
		return l, nil
	} else if bytes.HasPrefix(bytes.ToUpper(b), []byte("PL")) || bytes.HasPrefix(bytes.ToUpper(b), []byte("PI")) {
		return identity.Label{}, fmt.Errorf("%s: %w", arg, err)
	}
	l, err := label.Read(bytes.NewReader(b))
	if err != nil {
		return identity.Label{}, fmt.Errorf("%s: %w", arg, err)
	}
	return l, nil
}

func viewerListCommand(f *viewerFlags) *cobra.Command {
	var follow bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the cameras: online or offline, since when, and how they were last reached",
		Long: `Show the cameras in the book. The rendezvous says which of them are online, and with --follow tells at once when that changes:
nobody polls. It does not say whether a camera that is offline exists, so since when it is offline is known only to who followed it.
The exit code is 2 where a camera's state is not known, since its rendezvous does not answer.`,
		Example: "  punchlab viewer list --follow",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(func(v viewer.Session) error { return f.list(cmd.Context(), v, follow, wait) })
		},
	}
	c.Flags().BoolVar(&follow, "follow", false, "go on, and print a camera again whenever it has changed")
	c.Flags().DurationVar(&wait, "wait", 3*time.Second, "how long to wait for what the rendezvous says")
	return c
}

// list prints the cameras, once the rendezvous has said how they are.
func (f *viewerFlags) list(ctx context.Context, v viewer.Session, follow bool, wait time.Duration) error {
	changed, cancel := v.Changed()
	defer cancel()
	timeout := time.After(wait)
	for waiting := true; waiting && unknown(v) > 0; {
		select {
		case <-ctx.Done():
			return nil
		case <-timeout:
			waiting = false
		case <-changed:
		}
	}
	all := v.Cameras()
	if err := f.print(all); err != nil {
		return labError(err)
	}
	for _, s := range v.Servers() {
		if !s.LoggedIn {
			fmt.Fprintf(os.Stderr, "punchlab: %s\n", whyNot(s))
		}
	}
	if n := unknown(v); !follow && n > 0 {
		return &exitError{exitUndecided, fmt.Errorf("whether %d of the cameras are online was not told within %v", n, wait)}
	}
	was := map[identity.UID]viewer.Camera{}
	for _, c := range all {
		was[c.UID] = c
	}
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		var news []viewer.Camera
		for _, c := range v.Cameras() {
			if old, ok := was[c.UID]; !ok || old.Presence != c.Presence || old.Name != c.Name || !old.Since.Equal(c.Since) {
				news = append(news, c)
			}
			was[c.UID] = c
		}
		if err := f.print(news); err != nil {
			return labError(err)
		}
	}
	return nil
}

// whyNot says why a rendezvous tells nothing.
func whyNot(s viewer.Server) string {
	if s.Failure != "" {
		return fmt.Sprintf("the rendezvous %s: %s", strings.Join(s.Hosts, ", "), s.Failure)
	}
	return fmt.Sprintf("the rendezvous %s does not answer: %s", strings.Join(s.Hosts, ", "), isItThere)
}

// unknown counts the cameras of which nothing has been said.
func unknown(v viewer.Session) (n int) {
	for _, c := range v.Cameras() {
		if c.Presence == viewer.Unknown {
			n++
		}
	}
	return n
}

// print prints cameras, as a table or as lines of JSON.
func (f *viewerFlags) print(all []viewer.Camera) error {
	if f.json {
		for _, c := range all {
			if err := writeJSON(os.Stdout, cameraJSON(c)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Presence, sinceWords(c), roleName(c.Role), pathWords(c.LastPath), c.UID)
	}
	return w.Flush()
}

// sinceWords says since when a camera is as it is.
func sinceWords(c viewer.Camera) string {
	switch {
	case c.Presence == viewer.Offline && c.Why != "":
		return fmt.Sprintf("%s %s ago", c.Why, age(c.Since))
	case c.Presence == viewer.Online && !c.Since.IsZero():
		return "for " + age(c.Since)
	case c.Presence != viewer.Online && !c.LastSeen.IsZero():
		return "seen " + age(c.LastSeen) + " ago"
	}
	return "-"
}

// age is how long ago something was, in one unit.
func age(at time.Time) string {
	d := max(time.Since(at), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

func roleName(r wire.Role) string {
	if r == 0 {
		return "guest" // of a camera that keeps no list: who has the label may watch
	}
	return r.String()
}

func pathWords(path string) string {
	switch path {
	case "":
		return "-"
	case "lan":
		return "the local network"
	case "relay":
		return "the relay"
	}
	return "a direct path"
}

// cameraJSON is a camera as --json prints it.
func cameraJSON(c viewer.Camera) map[string]any {
	o := map[string]any{"name": c.Name, "uid": c.UID.String(), "role": roleName(c.Role), "presence": string(c.Presence)}
	for key, at := range map[string]time.Time{"since": c.Since, "last_seen": c.LastSeen} {
		if !at.IsZero() {
			o[key] = at.UTC().Format(time.RFC3339)
		}
	}
	for key, text := range map[string]string{"why": c.Why, "last_path": c.LastPath} {
		if text != "" {
			o[key] = text
		}
	}
	return o
}

func viewerRenameCommand(f *viewerFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "rename NAME TO",
		Short:   "Call a camera something else",
		Example: "  punchlab viewer rename camera-2 garden",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return f.with(func(v viewer.Session) error { return noConnection(v.Rename(args[0], args[1])) })
		},
	}
}

func viewerRemoveCommand(f *viewerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Forget a camera",
		Long: `Forget a camera. It goes on knowing this viewer: an owner who gives a camera away uses 'viewer release', and who is a guest has
the owner 'viewer revoke' him.`,
		Example: "  punchlab viewer remove door",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return f.with(func(v viewer.Session) error { return noConnection(v.Remove(args[0])) })
		},
	}
}

func viewerKeyCommand(f *viewerFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print this viewer's public key, for an account or an owner",
		Example: `  punchlab account token --account account.key --viewer "$(punchlab viewer key)"`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			k, err := loadKey(f.key)
			if err != nil {
				return err
			}
			fmt.Println(k.Public())
			return nil
		},
	}
}
