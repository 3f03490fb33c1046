package document

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Report adds a fault of meaning at the node, as Document.Report does.
func (n Node) Report(err error) { n.d.Report(n.path, err) }

var (
	rateText        = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kmgKMG]?)bit$`)
	bytesText       = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(B|kB|MB|KiB|MiB)$`)
	probabilityText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(%|e-[0-9]{1,3})$`)
)

// huge stands for what is too large for any limit.
const huge = 1 << 60

// Rate parses bits a second such as 13.6mbit, and reports what it cannot parse. Unlimited is 0.
func (n Node) Rate() int64 {
	s := n.String()
	if s == "" || s == "unlimited" {
		return 0
	}
	m := rateText.FindStringSubmatch(s)
	if m == nil {
		n.report(fmt.Sprintf("%q is not a rate: write bits a second such as 500kbit, 13.6mbit or 1gbit, or unlimited", shorten(s)))
		return 0
	}
	v := scaled(m[1], map[string]string{"": "", "k": "e3", "m": "e6", "g": "e9"}[strings.ToLower(m[2])])
	if v < 1 {
		n.report(fmt.Sprintf("%q is less than a bit a second: write unlimited, or leave it out", shorten(s)))
		return 0
	}
	return int64(min(v+0.5, huge))
}

// Bytes parses a size such as 64kB, and reports what it cannot parse.
func (n Node) Bytes() int {
	s := n.String()
	if s == "" {
		return 0
	}
	m := bytesText.FindStringSubmatch(s)
	if m == nil {
		n.report(fmt.Sprintf("%q is not a size: write bytes such as 1500B, 64kB, 64KiB or 1MB", shorten(s)))
		return 0
	}
	var v float64
	switch m[2] {
	case "KiB":
		v = scaled(m[1], "") * (1 << 10)
	case "MiB":
		v = scaled(m[1], "") * (1 << 20)
	default:
		v = scaled(m[1], map[string]string{"B": "", "kB": "e3", "MB": "e6"}[m[2]])
	}
	return int(min(v+0.5, huge))
}

// Probability reads a number such as 0.005, or parses text such as 0.5%, and reports what it cannot parse.
func (n Node) Probability() float64 {
	switch v := n.v.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	case string:
		if m := probabilityText.FindStringSubmatch(v); m != nil {
			return scaled(m[1], strings.Replace(m[2], "%", "e-2", 1))
		}
		n.report(fmt.Sprintf("%q is not a probability: write one such as 0.5%% or 0.005", shorten(v)))
	}
	return 0
}

// scaled is a decimal number with an exponent; the text itself is scaled, so that 0.1% is 0.001 to the last bit.
func scaled(number, exponent string) float64 {
	v, err := strconv.ParseFloat(number+exponent, 64)
	if err != nil { // out of range; the pattern is right
		return huge
	}
	return v
}
