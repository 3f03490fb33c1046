package source

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Input is where video comes from.
type Input struct {
	Kind Kind
	Name string // URL, path or filter; it may hold a password: String leaves that out
}

// Kind says what an Input is.
type Kind int

// The kinds of inputs.
const (
	File   Kind = iota + 1 // a file of any format that ffmpeg reads, played again and again at its own pace
	Pipe                   // an H.264 Annex B stream that comes by itself: standard input
	URL                    // a network camera
	Device                 // a camera of this host: V4L2
	Filter                 // pictures that ffmpeg makes itself (lavfi)
)

// schemes are those of URLs that are cameras. The rest of ffmpeg's protocols (file, concat, exec-like ones) is not for labels and
// flags that others may have written.
var schemes = []string{"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "udp", "rtp", "tcp"}

// filterPrefix begins an input that is a filter.
const filterPrefix = "lavfi:"

// ParseInput reads an input as people write it: "-", rtsp://… or another URL, /dev/videoN, lavfi:FILTER, or a file's path.
func ParseInput(s string) (Input, error) {
	switch {
	case s == "":
		return Input{}, errors.New("parse input: it is empty: give a file, - for standard input, rtsp://…, /dev/video0 or lavfi:testsrc2")
	case strings.ContainsAny(s, "\x00\n\r"):
		return Input{}, errors.New("parse input: it has a line break in it")
	case s == "-":
		return Input{Kind: Pipe, Name: s}, nil
	case strings.HasPrefix(s, "/dev/"):
		return Input{Kind: Device, Name: s}, nil
	case strings.HasPrefix(s, filterPrefix):
		return Input{Kind: Filter, Name: strings.TrimPrefix(s, filterPrefix)}, nil
	}
	scheme, _, ok := strings.Cut(s, "://")
	if !ok {
		return Input{Kind: File, Name: s}, nil
	}
	for _, known := range schemes {
		if strings.EqualFold(scheme, known) {
			return parseURL(s)
		}
	}
	return Input{}, fmt.Errorf("parse input: %q is none of the known protocols (%s)", scheme, strings.Join(schemes, ", "))
}

func parseURL(s string) (Input, error) {
	u, err := url.Parse(s)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // without the URL, which may hold a password
		}
		return Input{}, fmt.Errorf("parse input: the URL is not one: %w", err)
	}
	if u.Host == "" {
		return Input{}, errors.New("parse input: the URL names no host")
	}
	return Input{Kind: URL, Name: s}, nil
}

// String is the input without a password.
func (i Input) String() string {
	switch i.Kind {
	case URL:
		if u, err := url.Parse(i.Name); err == nil {
			u.User, u.RawQuery, u.Fragment = nil, "", "" // queries carry tokens
			return u.String()
		}
		return "a URL"
	case Filter:
		return filterPrefix + i.Name
	case Pipe:
		return "standard input"
	}
	return i.Name
}

// secrets are the parts of an input that must not be told, as it is written and as it means, the longest first: none is then left
// over where it has another one in it.
func (i Input) secrets() (all []string) {
	u, err := url.Parse(i.Name)
	if i.Kind != URL || err != nil {
		return nil
	}
	if u.User != nil {
		_, rest, _ := strings.Cut(i.Name, "://")
		authority, _, _ := strings.Cut(rest, "/")
		written := authority[:max(strings.LastIndexByte(authority, '@'), 0)]
		name, password, _ := strings.Cut(written, ":")
		meant, _ := u.User.Password()
		all = append(all, written, name, password, u.User.String(), u.User.Username(), meant)
	}
	all = slices.DeleteFunc(append(all, u.RawQuery), func(s string) bool { return s == "" })
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(all)
}
