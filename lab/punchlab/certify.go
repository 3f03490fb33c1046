package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/cases"
	"github.com/punchlab/punchlab/lab/certify/suite"
	"github.com/spf13/cobra"
)

type certifyFlags struct {
	profile  string
	firmware string
	attach   string
	hook     string
	forward  []uint
	endpoint bool
	cases    []string
	dryRun   bool
	brief    bool
	named    bool
	seed     uint64
	jobs     int
	out      string
	key      string
	witness  string
	issuers  []string
	resume   bool
	json     bool

	seeded  bool     // --seed was given
	program []string // after --
}

func certifyCommand() *cobra.Command {
	var f certifyFlags
	c := &cobra.Command{
		Use:   "certify [--profile FILE] [-- PROGRAM ARGS…]",
		Short: "Certify a camera: run the cases that it is held to, and sign what was seen",
		Long: `Run every case that applies to a camera by its declaration (--profile), judge it by packets, and write a folder: evidence of each
case, report.html, junit.xml, and a signed certificate. A camera is plugged in as an executable (-- PROGRAM), as a box on a cable
(--attach), or as an endpoint of the bundled protocol (--endpoint -- PROGRAM). lab/certify/CONTRACT.md is the whole agreement. Without a
profile and a program it is the bundled camera, this executable, that is certified.

Cases run several at once, the longest first. At a random place among them the camera is asked for a case that there is not: its
program has to exit with 127, or no certificate is issued. Interrupted, what is done is kept, and --resume goes on with the rest.

Only a whole run in full certifies. --case runs single cases and --brief few tries of each: the exit code is then that of the cases
that were run, and the suite's verdict is at best inconclusive. --no-blind tells the programs which case is run, for who debugs one: they are
told another one's ID else.

--witness runs the cases of a certificate again, as a second party: same declaration, same seeds, an own key. Its run is added to
the certificate, and signs it too if every verdict is the same. Exit code 1: one is not.

Exit codes: 0 pass, 1 fail, 2 inconclusive or interrupted, 64 the call or a file it names is wrong and nothing ran, 70 lab error.`,
		Example: `  punchlab certify                                     the bundled camera
  punchlab certify --profile acme.yaml --dry-run       which cases, why, and about how long
  punchlab certify --profile acme.yaml --brief -- ./acme-adapter
  punchlab certify --profile acme.yaml -- ./acme-adapter
  punchlab certify --profile acme.yaml --case NAT-1 --case BW-1 --seed 7 -- ./acme-adapter
  sudo punchlab certify --profile acme.yaml --firmware acme-4.2.bin --attach eth1 --hook ./acme-hook
  sudo punchlab certify --profile rtsp.yaml --attach eth1 --forward 554 -- ./rtsp-viewer
  punchlab certify --witness out/acme --issuer acme.key.pub -- ./acme-adapter
  punchlab verify out/acme --issuer acme.key.pub`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch dash := cmd.ArgsLenAtDash(); {
			case dash < 0 && len(args) > 0:
				return usagef("%s: a program comes after --, as in: punchlab certify --profile acme.yaml -- %s", args[0], shellWords(args))
			case dash > 0:
				return usagef("%s: only a program and its arguments come besides flags, after --", args[0])
			case dash == 0 && len(args) == 0:
				return usagef("no program follows --: is a variable not set?")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fl := cmd.Flags()
			if err := filled(fl, "profile", "firmware", "attach", "hook", "out", "key", "witness", "issuer", "case"); err != nil {
				return err
			}
			f.seeded, f.program = fl.Changed("seed"), args
			if err := f.contradictions(fl); err != nil {
				return err
			}
			return f.run(cmd.Context())
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.profile, "profile", "", "the camera's declaration, a YAML `file`")
	fl.StringVar(&f.firmware, "firmware", "", "the image that runs in the camera, a `file`: its digest is measured, and has to be the profile's; without it "+
		"the certificate says that the digest is the vendor's word")
	fl.StringVar(&f.attach, "attach", "", "the camera is a box that hangs on this network `interface`, which is moved into the lab; needs root")
	fl.StringVar(&f.hook, "hook", "", "with --attach: `command` that does actions on the box")
	fl.UintSliceVar(&f.forward, "forward", nil, "with --attach: `port` that the box's owner has the router forward to it, UDP and TCP; repeat for more")
	fl.BoolVar(&f.endpoint, "endpoint", false, "the program is a camera that speaks the bundled protocol; server, relay and viewer are the lab's")
	fl.StringArrayVar(&f.cases, "case", nil, "run only the case of this `ID`, and certify nothing; repeat for more")
	fl.BoolVar(&f.dryRun, "dry-run", false, "run nothing; print each case: whether it applies, why, and about how long it takes")
	fl.BoolVar(&f.brief, "brief", false, "few tries, short watches: minutes instead of hours; certifies nothing")
	fl.BoolVar(&f.named, "no-blind", false, "tell the programs which case is run, to debug one; else they are told another's ID, so that none can "+
		"behave for one case alone; certifies nothing")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of everything random (default: drawn)")
	fl.IntVar(&f.jobs, "jobs", 0, fmt.Sprintf("cases at once; most wait most of their time (default %d, with --brief %d, with --attach 1)",
		suite.DefaultJobs(false), suite.DefaultJobs(true)))
	fl.StringVar(&f.out, "out", "", "`folder` for evidence and certificate (default runs/certify-TIME)")
	fl.StringVar(&f.key, "key", "", "`file` of the key that signs, as 'punchlab key new' makes it (default "+keyFile("certify")+", made if missing)")
	fl.StringVar(&f.witness, "witness", "", "run the cases of the certificate in this `folder` again, as a second party")
	fl.StringArrayVar(&f.issuers, "issuer", nil, "with --witness: `file` of the public key that issued the certificate; repeat for more")
	fl.BoolVar(&f.resume, "resume", false, "go on with the run in --out that was cut short")
	fl.BoolVar(&f.json, "json", false, "print events as JSON, one a line, on standard output")
	_ = c.RegisterFlagCompletionFunc("case", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var ids []string
		for _, one := range certify.Catalogue() {
			ids = append(ids, one.ID+"\t"+one.Title)
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// tellPlan is --dry-run: every case, whether it is run and why, and about how long.
func (f *certifyFlags) tellPlan(o suite.Options) error {
	procedures := cases.All()
	rows := [][]string{{"CASE", "LEVEL", "RUN", "WHY", "TAKES", "TITLE"}}
	var run []certify.Selected
	for _, s := range certify.Select(o.Declaration) {
		row := []string{s.Case.ID, string(s.Case.Level), "no", s.Why, "", s.Case.Title}
		switch {
		case !s.Applicable:
		case !o.Asked(s):
			row[3] = "not asked for"
		default:
			row[2], row[4] = "yes", suite.About(suite.Takes(s.Case, o.Brief))
			run = append(run, s)
		}
		if s.Applicable && procedures[s.Case.ID] == nil {
			row[3] += "; no procedure in this build"
		}
		rows = append(rows, row)
	}
	if f.json {
		return json.NewEncoder(os.Stdout).Encode(objects(rows))
	}
	table(os.Stdout, rows)
	jobs := o.Jobs
	if jobs == 0 {
		jobs = suite.DefaultJobs(o.Brief)
	}
	fmt.Printf("\n%d of %d cases, %d at once, in about %s%s\n", len(run), len(rows)-1, jobs, suite.About(suite.Estimate(run, jobs, o.Brief)),
		map[bool]string{true: "; certifies nothing", false: ""}[o.Brief || len(o.Only) > 0])
	return nil
}

// listCases are the rows of 'punchlab list cases'.
func listCases() ([][]string, error) {
	rows := [][]string{{"CASE", "LEVEL", "APPLIES", "TITLE", "ORIGIN"}}
	for _, r := range certify.List(nil) {
		rows = append(rows, []string{r.ID, string(r.Level), r.Applies, r.Title, r.Origin})
	}
	return rows, nil
}

// isCase reports whether what 'punchlab show' is asked for is a case and no topology: those are named in small letters.
func isCase(name string) bool {
	group, number, ok := strings.Cut(name, "-")
	return ok && group != "" && strings.ToUpper(group) == group && strings.Trim(number, "0123456789") == ""
}

// showCase describes a case in full.
func showCase(id string, asJSON bool) error {
	text, err := certify.Show(id)
	if err != nil {
		return usage(err)
	}
	if asJSON {
		c, _ := certify.Lookup(id)
		return json.NewEncoder(os.Stdout).Encode(c)
	}
	fmt.Print(text)
	return nil
}
