package capture

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The columns beside the diagram.
const (
	timeColumn = 10 // "  1234.5  "
	noteColumn = 24
	minWidth   = 80
)

// Text draws the timeline in so many columns, at least 80. Times are in ms since the viewer's request.
//
//	  ms   viewer      viewer's router    rendezvous     camera's router      camera
//	 0.0     ├── connect ─────┼──────────────►│                 │                │      12.4
//	24.9     │                ├── punch 1 ────────────────────►✗│                │      ✗ filtered
func (l *Timeline) Text(width int) string {
	d := newDrawing(l, max(width, minWidth))
	d.header()
	for i := range l.Rows {
		d.row(&l.Rows[i])
	}
	d.blank()
	for _, s := range l.footer() {
		d.out.WriteString(s + "\n")
	}
	return d.out.String()
}

// drawing is a diagram in the making.
type drawing struct {
	l       *Timeline
	columns []int // of the lanes
	width   int   // without the note
	line    []rune
	out     strings.Builder
}

func newDrawing(l *Timeline, width int) *drawing {
	d := &drawing{l: l, width: width - noteColumn}
	first, room := timeColumn+6, d.width-timeColumn-12
	for i := range l.Lanes {
		d.columns = append(d.columns, first+room*i/max(len(l.Lanes)-1, 1))
	}
	return d
}

// begin starts a line with the lifelines.
func (d *drawing) begin() {
	d.line = []rune(strings.Repeat(" ", d.width))
	for _, c := range d.columns {
		d.line[c] = '│'
	}
}

func (d *drawing) end(note string) {
	s := string(d.line)
	if note != "" {
		s += note
	}
	d.out.WriteString(strings.TrimRight(s, " ") + "\n")
}

func (d *drawing) put(at int, s string) {
	for _, r := range s {
		if at >= 0 && at < len(d.line) {
			d.line[at] = r
		}
		at++
	}
}

func (d *drawing) blank() {
	d.begin()
	d.end("")
}

func (d *drawing) header() {
	room := d.width
	if len(d.columns) > 1 {
		room = d.columns[1] - d.columns[0]
	}
	for k := range 3 {
		d.line = []rune(strings.Repeat(" ", d.width))
		if k == 0 {
			d.put(timeColumn-4, "ms")
		}
		for i, lane := range d.l.Lanes {
			s := clip([]string{lane.title(room - 1), lane.Name, lane.Addr}[k], room-1)
			if k == 1 && lane.Name == lane.Title {
				continue
			}
			d.put(max(d.columns[i]-utf8.RuneCountInString(s)/2, 0), s)
		}
		d.end("")
	}
	d.blank()
}

// title is the lane's role, or its last word where there is no room for more.
func (l Lane) title(room int) string {
	if utf8.RuneCountInString(l.Title) <= room {
		return l.Title
	}
	return l.Title[strings.LastIndexByte(l.Title, ' ')+1:]
}

// clip shortens s to n runes.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:max(n-1, 0)]) + "…"
	}
	return s
}

func (d *drawing) row(r *Row) {
	d.begin()
	d.put(0, fmt.Sprintf("%*s", timeColumn-2, ms(r.T)))
	if r.Count == 0 {
		from, to := d.columns[0], d.columns[len(d.columns)-1]
		for c := from; c <= to; c++ {
			d.line[c] = '·'
		}
		s := " " + clip(r.Label, to-from-6) + " "
		d.put((from+to-utf8.RuneCountInString(s))/2, s)
		d.end("")
		return
	}
	d.arrow(r)
	d.end(r.note())
}

// column is where a lane, or a place between two, is drawn.
func (d *drawing) column(lane float64) int {
	i := int(lane)
	if i >= len(d.columns)-1 {
		return d.columns[len(d.columns)-1]
	}
	part := lane - float64(i)
	return d.columns[i] + int(part*float64(d.columns[i+1]-d.columns[i]))
}

func (d *drawing) arrow(r *Row) {
	shaft, cross := '─', '┼'
	if r.Kind == Media {
		shaft, cross = '═', '╪'
	}
	from, to := d.column(r.Way[0]), d.column(r.Way[len(r.Way)-1])
	if from == to {
		d.line[from] = '✗'
		if r.Open {
			d.line[from] = '○'
		}
		if n := utf8.RuneCountInString(r.Label); from+2+n > d.width {
			d.put(from-1-n, r.Label)
		} else {
			d.put(from+2, r.Label)
		}
		return
	}
	step, start, head := 1, '├', '►'
	if to < from {
		step, start, head = -1, '┤', '◄'
	}
	for c := from + step; c != to; c += step {
		d.line[c] = shaft
	}
	if isLane(r.Way[0]) {
		d.line[from] = start
	} else {
		d.line[from] = shaft
	}
	d.line[to-step] = head
	if r.Open {
		d.line[to-step] = '○'
	}
	if r.Drop != "" {
		d.line[to-step] = '✗'
		if !isLane(r.Way[len(r.Way)-1]) {
			d.line[to], d.line[to-step] = '✗', shaft
		}
	}
	stops := []int{from, to}
	for _, w := range r.Way[1 : len(r.Way)-1] {
		d.line[d.column(w)] = cross
		stops = append(stops, d.column(w))
	}
	d.label(r.Label, stops)
}

func isLane(w float64) bool { return w == float64(int(w)) }

// label writes into the widest part of an arrow between its stops, the first of equal ones; over the routers that it
// passes, where it needs more room than that.
func (d *drawing) label(s string, stops []int) {
	slices.Sort(stops)
	at, room := 0, 0
	for i := 1; i < len(stops); i++ {
		if n := stops[i] - stops[i-1]; n > room {
			at, room = stops[i-1], n
		}
	}
	const around = 4 // two spaces, a head and a shaft
	if n := utf8.RuneCountInString(s); n > room-around {
		at, room = stops[0], stops[len(stops)-1]-stops[0]
	}
	s = " " + clip(s, room-around) + " "
	d.put(at+max((room-utf8.RuneCountInString(s))/2, 2), s)
}

// note is what stands beside the diagram: how many packets, when the last one arrived, or why they did not.
func (r *Row) note() string {
	var parts []string
	if r.Count > 1 {
		parts = append(parts, fmt.Sprintf("×%d", r.Count))
	}
	if r.Drop != "" {
		s := "✗ " + r.Drop
		if r.Inferred {
			s += "?"
		}
		parts = append(parts, s)
	}
	switch {
	case r.Count > 1:
		parts = append(parts, "until "+ms(r.Came))
	case r.Open:
		parts = append(parts, "not seen to arrive")
	case r.Drop == "":
		parts = append(parts, ms(r.Came))
	}
	return "  " + strings.Join(parts, " ")
}

// ms writes a time in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// footer is what the diagram leaves out, and the mappings that explain it.
func (l *Timeline) footer() []string {
	lines := l.mappings()
	if l.Earlier > 0 {
		lines = append(lines, count(l.Earlier, "packet")+" before the request: not shown")
	}
	if l.Others > 0 {
		lines = append(lines, count(l.Others, "packet")+" of other hosts: not shown")
	}
	return lines
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// maxMappings bounds the list below the diagram.
const maxMappings = 12

// mappings lists how the routers mapped the two sides' endpoints, in the order of their first use.
func (l *Timeline) mappings() (lines []string) {
	seen, more := map[string]bool{}, 0
	for i := range l.Journeys {
		for _, s := range l.Journeys[i].Steps {
			if s.Src.Old == s.Src.New || s.At != atOutbound || l.lane(s.Node) < 0 {
				continue
			}
			line := fmt.Sprintf("%s maps %v to %v", l.view.name(s.Node), s.Src.Old, s.Src.New)
			switch {
			case seen[line]:
			case len(lines) == maxMappings:
				more++
			default:
				lines = append(lines, line)
			}
			seen[line] = true
		}
	}
	if more > 0 {
		lines = append(lines, "and "+count(more, "more mapping"))
	}
	return lines
}
