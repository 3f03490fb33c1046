package soak

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is what one sort of datagram draws from a target that it names somebody else to, as its sender.
type Row struct {
	Target     string  `json:"target"`  // rendezvous, relay, camera
	Message    string  `json:"message"` // attack.Kinds, and what was captured
	Variant    string  `json:"variant"` // plain, replayed, cut, padded, at once
	In         int64   `json:"in"`      // datagrams sent
	BytesIn    int64   `json:"bytes_in"`
	Out        int64   `json:"out"` // packets that the target sent to the named sender, ICMP included
	BytesOut   int64   `json:"bytes_out"`
	Reflection float64 `json:"reflection"` // bytes out ÷ bytes in, IP headers counted
}

// Table is what all sorts draw.
type Table struct {
	Seed   uint64        `json:"seed"`
	Waited time.Duration `json:"waited"` // ns, for what is sent again, behind the last datagram
	Rows   []Row         `json:"rows"`
}

// Worst is the greatest reflection of a table.
func (t Table) Worst() (worst Row) {
	for _, r := range t.Rows {
		if r.Reflection >= worst.Reflection {
			worst = r
		}
	}
	return worst
}

// Text is the table for people: a row a sort, whatever its variant, with the worst one's ratio.
func (t Table) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "target\tmessage\tin\tbytes in\tout\tbytes out\tbytes out ÷ in\tworst")
	for _, r := range t.worst() {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%.2f\t%s\n", r.Target, r.Message, r.In, r.BytesIn, r.Out, r.BytesOut, r.Reflection, r.Variant)
	}
	w.Flush()
	return b.String()
}

// Markdown is the same for a README.
func (t Table) Markdown() string {
	var b strings.Builder
	b.WriteString("| target | unauthenticated message | bytes in | bytes out | out ÷ in |\n|---|---|---:|---:|---:|\n")
	for _, r := range t.worst() {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %.2f |\n", r.Target, r.Message, r.BytesIn, r.BytesOut, r.Reflection)
	}
	return b.String()
}

// worst is a row for each sort: that of its variants which draws most.
func (t Table) worst() (rows []Row) {
	at := map[[2]string]int{}
	for _, r := range t.Rows {
		i, ok := at[[2]string{r.Target, r.Message}]
		switch {
		case !ok:
			at[[2]string{r.Target, r.Message}] = len(rows)
			rows = append(rows, r)
		case r.Reflection > rows[i].Reflection:
			rows[i] = r
		}
	}
	return rows
}
