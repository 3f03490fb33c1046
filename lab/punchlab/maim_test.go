package main

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// program makes a command of scripts out of what it does.
func program(name string, do func(args []string) error) func() {
	return func() {
		if err := do(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// said waits until a file has each of the patterns: said FILE PATTERN…
func said(args []string) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(args[0])
		missing := ""
		for _, p := range args[1:] {
			if !regexp.MustCompile(p).Match(b) {
				missing = p
			}
		}
		if err == nil && missing == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %v; it does not say %q:\n%s", args[0], err, missing, b)
		}
	}
}

// maim makes files that are not as they should be: maim photo FILE, maim page FILE NUMBER…, maim certificate MAKER CAMERA FILE FROM UNTIL,
// or maim list MAKER FILE ISSUED, with times in years from now.
func maim(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "photo":
		return blot(args[1])
	case len(args) > 2 && args[0] == "page":
		return tear(args[1], args[2:])
	case len(args) == 6 && args[0] == "certificate":
		return certificate(args[1], args[2], args[3], args[4:])
	case len(args) == 4 && args[0] == "list":
		return list(args[1], args[2], args[3])
	}
	return fmt.Errorf("what is %q?", args)
}

// blot paints the middle of a picture over.
func blot(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	whole, err := png.Decode(f)
	if err != nil {
		return err
	}
	b := whole.Bounds()
	spoilt := image.NewRGBA(b)
	draw.Draw(spoilt, b, whole, b.Min, draw.Src)
	draw.Draw(spoilt, image.Rect(b.Dx()/4, b.Dy()*2/5, b.Dx()*3/4, b.Dy()*3/4), image.NewUniform(color.Gray{128}), image.Point{}, draw.Src)
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(out, spoilt), out.Close())
}

// tear puts zeros into the first sectors of a database's pages, as a disk may that lost its power.
func tear(path string, pages []string) error {
	const size, sector = 4096, 512
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	for _, p := range pages {
		n, e := strconv.Atoi(p)
		if e == nil {
			_, e = f.WriteAt(make([]byte, sector), int64(n)*size)
		}
		err = errors.Join(err, e)
	}
	return errors.Join(err, f.Close())
}

// years is how many years from now something is, in unix seconds; "-": never.
func years(s string) (int64, error) {
	if s == "-" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	return time.Now().AddDate(n, 0, 0).Unix(), err
}

// certificate gives a camera a certificate that holds between two years from now.
func certificate(maker, camera, path string, holds []string) error {
	m, err := identity.LoadMakerKey(maker)
	if err != nil {
		return err
	}
	k, err := identity.LoadKey(camera)
	if err != nil {
		return err
	}
	c := identity.Certificate{Maker: m.Public(), Device: k.Public(), Serial: 1}
	var e error
	c.NotBefore, err = years(holds[0])
	c.NotAfter, e = years(holds[1])
	if err = errors.Join(err, e); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(identity.CertificateText(m.Certify(c))+"\n"), 0o600)
}

// list makes an empty list of revocations that was issued years from now.
func list(maker, path, issued string) error {
	m, err := identity.LoadMakerKey(maker)
	if err != nil {
		return err
	}
	at, err := years(issued)
	if err != nil {
		return err
	}
	return os.WriteFile(path, m.Revoke(identity.NewRevocationList(1, at, nil)), 0o600)
}
