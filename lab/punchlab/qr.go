package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/label"
	"github.com/spf13/cobra"
)

// labelScale is how many pixels a module of a printed label has: a label of usual length takes some 420 pixels.
const labelScale = 8

func qrCommand() *cobra.Command {
	var png, svg, photo string
	var asJSON bool
	c := &cobra.Command{
		Use:   "qr LABEL|FILE|-",
		Short: "Draw a label as a QR code, or read one off a photo",
		Long: `Draw a camera's label or an invitation as a QR code: on the terminal, or as files. Or read the text of one off a photo in PNG,
JPEG, GIF or WebP, at any angle. Who has a label can pair with its camera: files are written for you alone (0600), and a
label that is given as a file or on standard input (-) is not seen by others in the list of processes.`,
		Example: `  punchlab qr batch-1/7ZK3-Q2MD-90XV-5R1T-HC8E-WB4N-6YGA/label.txt
  punchlab qr label.txt --png label.png --svg label.svg
  punchlab qr --read photo.jpg`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case photo != "" && len(args)+len(png)+len(svg) > 0:
				return usagef("--read FILE stands alone: it prints the label's text")
			case photo != "":
				return readPhoto(photo, asJSON)
			case len(args) == 0:
				return usagef("name a label: its text, a file with it, or - for standard input; or --read a photo")
			}
			l, err := readLabel(args[0], cmd.InOrStdin())
			if err != nil {
				return usage(err)
			}
			return drawLabel(l, png, svg)
		},
	}
	c.Flags().StringVar(&png, "png", "", "write a PNG `file`")
	c.Flags().StringVar(&svg, "svg", "", "write an SVG `file`")
	c.Flags().StringVar(&photo, "read", "", "read the label off the photo in this `file`, and print its text")
	c.Flags().BoolVar(&asJSON, "json", false, "with --read: print an object")
	return c
}

// readLabel reads a label: standard input, the text itself, or a file.
func readLabel(arg string, stdin io.Reader) (identity.Label, error) {
	var b []byte
	var err error
	switch prefix, _, text := strings.Cut(strings.ToUpper(arg), "/"); {
	case arg == "-":
		b, err = io.ReadAll(io.LimitReader(stdin, 2*identity.MaxLabel))
	case text && (prefix == "PL1" || prefix == "PI1"):
		b = []byte(arg)
	default:
		b, err = os.ReadFile(arg)
	}
	if err != nil {
		return identity.Label{}, err
	}
	return identity.ParseLabel(string(b))
}

func drawLabel(l identity.Label, png, svg string) error {
	code, err := label.New(l.String())
	if err != nil {
		return usage(err)
	}
	if png != "" {
		if err := identity.WriteFile(png, code.PNG(labelScale), 0o600); err != nil {
			return usage(err)
		}
	}
	if svg != "" {
		if err := identity.WriteFile(svg, code.SVG(l.UID().String()), 0o600); err != nil {
			return usage(err)
		}
	}
	if png == "" && svg == "" {
		fmt.Print(code.Terminal(os.Getenv("NO_COLOR") == ""))
		fmt.Println(l.UID())
	}
	return nil
}

func readPhoto(path string, asJSON bool) error {
	f, err := os.Open(path)
	if err != nil {
		return usage(err)
	}
	defer f.Close()
	l, err := label.Read(f)
	if err != nil {
		return usagef("%s: %w", path, err)
	}
	if asJSON {
		return writeJSON(os.Stdout, map[string]any{"uid": l.UID().String(), "rendezvous": l.Rendezvous, "rendezvous_key": l.RendezvousKey.String(),
			"invited": l.Invited, "text": l.String()})
	}
	fmt.Println(l)
	return nil
}
