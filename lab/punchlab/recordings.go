package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/punchlab/punchlab/impl/cloud"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// storeFlags say where recordings are stored. The camera writes there; `punchlab recordings` reads.
type storeFlags struct {
	url, credentials, ca, region string
}

func (f *storeFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "store", "", "S3-compatible store of recordings: `https://HOST[:PORT]/BUCKET[/PREFIX]`")
	fl.StringVar(&f.credentials, "store-credentials", "",
		"`file` of ACCESS-KEY:SECRET-KEY, mode 0600 (default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)")
	fl.StringVar(&f.ca, "store-ca", "", "`file` of the CA that signed the store's certificate (default: the system's)")
	fl.StringVar(&f.region, "store-region", "", "region of the bucket (default us-east-1)")
}

// s3 returns what the flags say.
func (f *storeFlags) s3() (s cloud.S3, err error) {
	if f.url == "" {
		return s, errors.New("--store URL is missing: say where recordings are, https://HOST[:PORT]/BUCKET[/PREFIX]")
	}
	if s, err = cloud.ParseURL(f.url); err != nil {
		return s, err
	}
	s.Region = f.region
	if f.credentials != "" {
		s.AccessKey, s.SecretKey, err = cloud.LoadCredentials(f.credentials)
	} else {
		s.AccessKey, s.SecretKey = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	}
	if err == nil && (s.AccessKey == "" || s.SecretKey == "") {
		err = errors.New("give --store-credentials FILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if err == nil && f.ca != "" {
		s.CA, err = cloud.LoadCA(f.ca)
	}
	return s, err
}

type recordingsFlags struct {
	store       storeFlags
	camera, key string
	asJSON      bool
}

func recordingsCommand() *cobra.Command {
	var f recordingsFlags
	c := &cobra.Command{
		Use:   "recordings",
		Short: "List, fetch and verify what cameras recorded to a store",
		Long: `Read the recordings that cameras put into an S3-compatible store. The store has them encrypted and cannot watch; the camera's
recording key (recording.key in its folder) decrypts them, and tells what the store lost, changed or forged.`,
		Example: `  export PUNCHLAB_STORE=https://s3.example.net/cameras PUNCHLAB_STORE_CREDENTIALS=store.txt
  punchlab recordings list
  punchlab recordings get latest --recording-key door/recording.key --output door.ts
  punchlab recordings verify --recording-key door/recording.key`,
	}
	f.store.register(c.PersistentFlags())
	c.PersistentFlags().StringVar(&f.camera, "camera", "", "`UID` of the camera (default: the only one that the store has)")
	c.PersistentFlags().StringVar(&f.key, "recording-key", "", "`file` of the camera's recording key")
	c.PersistentFlags().BoolVar(&f.asJSON, "json", false, "print lines of JSON")
	c.AddCommand(f.listCommand(), f.getCommand(), f.verifyCommand())
	return c
}

// archive opens the store, and finds whose recordings are meant.
func (f *recordingsFlags) archive(ctx context.Context, needKey bool) (a cloud.Archive, err error) {
	s, err := f.store.s3()
	if err == nil && needKey && f.key == "" {
		err = errors.New("--recording-key FILE is missing: without the camera's key nobody can tell what its recordings are")
	}
	if err == nil && f.key != "" {
		a.Key, err = cloud.LoadKey(f.key)
	}
	if err == nil {
		a.Store, err = s.Open()
	}
	if err == nil && f.camera != "" {
		a.UID, err = identity.ParseUID(f.camera)
	}
	if err != nil {
		return a, usage(err)
	}
	if f.camera != "" {
		return a, nil
	}
	uids, err := cloud.Cameras(ctx, a.Store)
	switch {
	case err != nil:
		return a, &exitError{exitFail, err}
	case len(uids) == 1:
		a.UID = uids[0]
		return a, nil
	case len(uids) == 0:
		return a, &exitError{exitFail, errors.New("the store has no recordings there")}
	}
	names := make([]string, len(uids))
	for i, u := range uids {
		names[i] = u.String()
	}
	return a, usagef("the store has recordings of %d cameras: give --camera, one of\n  %s", len(uids), strings.Join(names, "\n  "))
}

// parts returns the named parts; "latest" is the last, no name is all.
func parts(ctx context.Context, a cloud.Archive, names []string) ([]*cloud.Recorded, error) {
	all, err := a.Parts(ctx)
	if err != nil {
		return nil, &exitError{exitFail, err}
	}
	if len(names) == 0 || len(all) == 0 {
		return all, nil
	}
	byName := map[string]*cloud.Recorded{"latest": all[len(all)-1]}
	for _, p := range all {
		byName[p.Name] = p
	}
	var some []*cloud.Recorded
	for _, n := range names {
		p := byName[n]
		if p == nil {
			return nil, usagef("the store has no part %q of camera %s: 'punchlab recordings list' names them", n, a.UID)
		}
		some = append(some, p)
	}
	return some, nil
}

func (f *recordingsFlags) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List parts, from their names alone: no key is needed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := f.archive(cmd.Context(), false)
			if err != nil {
				return err
			}
			all, err := parts(cmd.Context(), a, nil)
			if err != nil {
				return err
			}
			return f.printParts(cmd.OutOrStdout(), all)
		},
	}
}

func (f *recordingsFlags) printParts(w io.Writer, all []*cloud.Recorded) error {
	if f.asJSON {
		for _, p := range all {
			err := writeJSON(w, struct {
				Camera   string    `json:"camera"`
				Part     string    `json:"part"`
				Start    time.Time `json:"start"`
				Seconds  float64   `json:"seconds"`
				Segments int       `json:"segments"`
				Bytes    int64     `json:"bytes"`
			}{p.UID.String(), p.Name, p.Start, p.Duration.Seconds(), p.Segments, p.Bytes})
			if err != nil {
				return labError(err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PART\tSTART\tLENGTH\tSEGMENTS\tBYTES")
	for _, p := range all {
		fmt.Fprintf(t, "%s\t%s\t%v\t%d\t%d\n", p.Name, p.Start.Local().Format(time.DateTime), p.Duration, p.Segments, p.Bytes)
	}
	return t.Flush()
}

func (f *recordingsFlags) getCommand() *cobra.Command {
	var output, hls string
	c := &cobra.Command{
		Use:   "get PART…",
		Short: "Fetch parts, checked and decrypted: one MPEG-TS file that any player plays",
		Long: `Fetch parts by their names, or the latest. What the store lost, changed or forged is left out and named, and the exit code is 1.
With --hls a part is saved as stored, still encrypted, with playlist and key: a folder that any HLS player plays.`,
		Example: `  punchlab recordings get latest --recording-key recording.key --output - | ffplay -
  punchlab recordings get 20261123T022000Z-1f3a9c02-00000150 --recording-key recording.key --hls door`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if (output == "") == (hls == "") {
				return usagef("give --output FILE (or -), or --hls DIR")
			}
			if hls != "" && len(names) != 1 {
				return usagef("--hls saves one part: name one")
			}
			a, err := f.archive(cmd.Context(), true)
			if err != nil {
				return err
			}
			some, err := parts(cmd.Context(), a, names)
			if err != nil {
				return err
			}
			if len(some) == 0 {
				return &exitError{exitFail, fmt.Errorf("the store has no recordings of camera %s", a.UID)}
			}
			if hls != "" {
				return f.saveHLS(cmd, a, some[0], hls)
			}
			return f.save(cmd, a, some, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`file` to write, or - for stdout")
	c.Flags().StringVar(&hls, "hls", "", "`folder` to put segments, playlist and key into")
	return c
}

func (f *recordingsFlags) saveHLS(cmd *cobra.Command, a cloud.Archive, p *cloud.Recorded, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usage(err)
	}
	rep, err := a.SaveHLS(cmd.Context(), p, dir)
	if err != nil {
		return &exitError{exitFail, err}
	}
	return f.judge(cmd.ErrOrStderr(), []cloud.Report{rep}, nil)
}

// save writes parts to a file that gets its name once it is whole.
func (f *recordingsFlags) save(cmd *cobra.Command, a cloud.Archive, some []*cloud.Recorded, output string) (err error) {
	w := cmd.OutOrStdout()
	if output != "-" {
		file, e := os.CreateTemp(filepath.Dir(output), ".get-*") // mode 0600
		if e != nil {
			return usage(e)
		}
		defer func() {
			err = errors.Join(err, file.Close())
			var judged *exitError
			if err != nil && (!errors.As(err, &judged) || judged.err != nil) {
				err = errors.Join(err, os.Remove(file.Name()))
			} else if e := os.Rename(file.Name(), output); e != nil {
				err = labError(e)
			}
		}()
		w = file
	}
	w = cloud.Join(w)
	var reports []cloud.Report
	for _, p := range some {
		rep, err := a.Read(cmd.Context(), p, w)
		if err != nil {
			return &exitError{exitFail, err}
		}
		reports = append(reports, rep)
	}
	return f.judge(cmd.ErrOrStderr(), reports, nil) // stdout may be the video
}

func (f *recordingsFlags) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [PART…]",
		Short: "Check that the store has all that the camera recorded, unchanged",
		Long: `Fetch and check parts, or all of them: every segment's and playlist's HMAC, and that no number is missing between the first and
the last. What the camera itself dropped in a long outage is told, and is no fault of the store. A store can hide the newest
parts: the last line says up to when recordings reach.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			a, err := f.archive(cmd.Context(), true)
			if err != nil {
				return err
			}
			some, err := parts(cmd.Context(), a, names)
			if err != nil {
				return err
			}
			var reports []cloud.Report
			for _, p := range some {
				rep, err := a.Read(cmd.Context(), p, nil)
				if err != nil {
					return &exitError{exitFail, err}
				}
				reports = append(reports, rep)
			}
			var between error
			if len(names) == 0 {
				dropped, problems, err := a.Missing(cmd.Context(), some)
				if err != nil {
					return &exitError{exitFail, err}
				}
				if dropped > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "%d segments between parts were dropped by the camera\n", dropped)
				}
				between = errors.Join(problems...)
			}
			return f.judge(cmd.OutOrStdout(), reports, between)
		},
	}
}

// judge prints what was found of each part, and fails if anything is wrong.
func (f *recordingsFlags) judge(w io.Writer, reports []cloud.Report, between error) error {
	bad := between != nil
	var until time.Time
	for _, r := range reports {
		bad = bad || len(r.Problems) > 0
		if end := r.Start.Add(r.Duration); end.After(until) {
			until = end
		}
		if f.asJSON {
			if err := f.printReport(w, r); err != nil {
				return labError(err)
			}
			continue
		}
		fmt.Fprintf(w, "%s: %d segments, %v, %d bytes%s\n", r.Part, r.Good, r.Duration, r.Bytes, remarks(r))
		for _, p := range r.Problems {
			fmt.Fprintf(w, "  %v\n", p)
		}
	}
	if between != nil {
		fmt.Fprintln(w, between)
	}
	if bad {
		return &exitError{exitFail, nil}
	}
	if !f.asJSON {
		fmt.Fprintf(w, "all is as the camera recorded it, up to %s\n", until.Local().Format(time.DateTime))
	}
	return nil
}

func remarks(r cloud.Report) (s string) {
	if r.Dropped > 0 {
		s += fmt.Sprintf(", %d dropped by the camera", r.Dropped)
	}
	if r.Unlisted > 0 {
		s += fmt.Sprintf(", %d not yet in the playlist", r.Unlisted)
	}
	if !r.Ended {
		s += ", not ended"
	}
	return s
}

func (f *recordingsFlags) printReport(w io.Writer, r cloud.Report) error {
	problems := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		problems[i] = p.Error()
	}
	return writeJSON(w, struct {
		Part     string   `json:"part"`
		Good     int      `json:"good"`
		Seconds  float64  `json:"seconds"`
		Bytes    int64    `json:"bytes"`
		Unlisted int      `json:"unlisted"`
		Dropped  int      `json:"dropped"`
		Ended    bool     `json:"ended"`
		Problems []string `json:"problems"`
	}{r.Part, r.Good, r.Duration.Seconds(), r.Bytes, r.Unlisted, r.Dropped, r.Ended, problems})
}
