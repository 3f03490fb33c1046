package main

import (
	"context"
	"fmt"
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

// asking opens the book and gives a camera so long to answer.
func (f *viewerFlags) asking(cmd *cobra.Command, do func(ctx context.Context, v viewer.Session) error) error {
	return f.with(func(v viewer.Session) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), askWithin)
		defer cancel()
		return do(ctx, v)
	})
}

func viewerShareCommand(f *viewerFlags) *cobra.Command {
	var i viewer.Invitation
	var role, png string
	c := &cobra.Command{
		Use:   "share NAME",
		Short: "Invite somebody to watch a camera, as its owner",
		Long: `Make an invitation, which one viewer can use, once: a QR code on the terminal, or a file, and its text. Who has it can pair with
the camera.`,
		Example: "  punchlab viewer share door --for 24h --to Ann",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if i.Role, err = parseRole(role); err != nil {
				return usage(err)
			}
			return f.asking(cmd, func(ctx context.Context, v viewer.Session) error {
				l, err := v.Invite(ctx, args[0], i)
				if err != nil {
					return noConnection(err)
				}
				return f.showInvitation(l, png)
			})
		},
	}
	c.Flags().DurationVar(&i.For, "for", 0, "how long it holds: the invitation, and what it gives (default: without end)")
	c.Flags().StringVar(&role, "role", "guest", "what it gives: guest (watch), or owner (invite and revoke others too)")
	c.Flags().StringVar(&i.Name, "to", "", "the `name` under which who takes it is listed (default: as he calls himself)")
	c.Flags().StringVar(&png, "png", "", "write the QR code to a PNG `file`")
	return c
}

// showInvitation prints an invitation: its text on standard output, the code for people.
func (f *viewerFlags) showInvitation(l identity.Label, png string) error {
	if f.json {
		return writeJSON(os.Stdout, map[string]any{"invitation": l.String()})
	}
	code, err := label.New(l.String())
	if err != nil {
		return labError(err)
	}
	if png != "" {
		if err := identity.WriteFile(png, code.PNG(labelScale), 0o600); err != nil {
			return usage(err)
		}
	} else {
		fmt.Fprint(os.Stderr, code.Terminal(os.Getenv("NO_COLOR") == ""))
	}
	fmt.Println(l)
	return nil
}

func parseRole(s string) (wire.Role, error) {
	for _, r := range []wire.Role{wire.RoleOwner, wire.RoleGuest} {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %q: choose owner or guest", s)
}

func viewerGuestsCommand(f *viewerFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "guests NAME",
		Short:   "List who may watch a camera, as its owner",
		Example: "  punchlab viewer guests door",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.asking(cmd, func(ctx context.Context, v viewer.Session) error {
				all, err := v.Members(ctx, args[0])
				if err != nil {
					return noConnection(err)
				}
				return f.printMembers(all)
			})
		},
	}
}

// printMembers prints who may watch, as a table or as lines of JSON.
func (f *viewerFlags) printMembers(all []wire.Member) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, m := range all {
		if f.json {
			o := map[string]any{"key": m.Key.String(), "role": m.Role.String(), "name": string(m.Name)}
			if m.Seconds > 0 {
				o["seconds"] = m.Seconds
			}
			if err := writeJSON(os.Stdout, o); err != nil {
				return labError(err)
			}
			continue
		}
		until := "without end"
		if m.Seconds > 0 {
			until = "for another " + (time.Duration(m.Seconds) * time.Second).String()
		}
		name := string(m.Name)
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, m.Role, until, m.Key)
	}
	if err := w.Flush(); err != nil {
		return labError(err)
	}
	return nil
}

// member finds who is meant by a name, a key, or a key's beginning.
func member(ctx context.Context, v viewer.Session, camera, who string) (identity.PublicKey, error) {
	all, err := v.Members(ctx, camera)
	if err != nil {
		return identity.PublicKey{}, err
	}
	var found []wire.Member
	for _, m := range all {
		if strings.EqualFold(string(m.Name), who) || len(who) >= 4 && strings.HasPrefix(m.Key.String(), strings.ToUpper(who)) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return identity.PublicKey{}, fmt.Errorf("nobody called %q may watch %s; see 'punchlab viewer guests %s'", who, camera, camera)
	case 1:
		return found[0].Key, nil
	}
	return identity.PublicKey{}, fmt.Errorf("%d viewers of %s are meant by %q: give the beginning of the key", len(found), camera, who)
}

func viewerRevokeCommand(f *viewerFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME WHO",
		Short: "End what somebody may do at a camera, as its owner",
		Long: `Take somebody out of those who may watch: by the name or the key that 'viewer guests' lists. What he is watching ends at once.
With an invitation's text in place of WHO, one that nobody has used yet is taken back.`,
		Example: "  punchlab viewer revoke door Ann",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.asking(cmd, func(ctx context.Context, v viewer.Session) error {
				if l, err := identity.ParseLabel(args[1]); err == nil {
					return noConnection(v.Cancel(ctx, args[0], l))
				}
				key, err := member(ctx, v, args[0], args[1])
				if err == nil {
					err = v.Revoke(ctx, args[0], key)
				}
				return noConnection(err)
			})
		},
	}
}

func viewerRoleCommand(f *viewerFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "role NAME WHO owner|guest",
		Short:   "Change what somebody may do at a camera, as its owner",
		Example: "  punchlab viewer role door Ann owner",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, err := parseRole(args[2])
			if err != nil {
				return usage(err)
			}
			return f.asking(cmd, func(ctx context.Context, v viewer.Session) error {
				key, err := member(ctx, v, args[0], args[1])
				if err == nil {
					err = v.SetRole(ctx, args[0], key, role)
				}
				return noConnection(err)
			})
		},
	}
}

func viewerReleaseCommand(f *viewerFlags) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "release NAME",
		Short: "Give a camera away, as its owner: it forgets everybody, and its label works again",
		Long: `Have a camera forget all who may watch it, and all invitations. Who adds it next by its label is its owner. What they are watching
ends at once.`,
		Example: "  punchlab viewer release door --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return usagef("everybody loses %s: say --yes if that is meant", args[0])
			}
			return f.asking(cmd, func(ctx context.Context, v viewer.Session) error { return noConnection(v.Release(ctx, args[0])) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}
