package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"golang.org/x/sys/unix"
)

// progress shows how far a run is: a bar that redraws itself on a terminal, a line now and then elsewhere.
type progress struct {
	w        *os.File
	scenario string
	tty      bool
	last     time.Duration
}

func newProgress(w *os.File, scenario string) *progress {
	return &progress{w: w, scenario: scenario, tty: isTerminal(w)}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Intervals between two drawings.
const (
	redraw  = 200 * time.Millisecond
	newLine = 5 * time.Second
)

func (p *progress) show(_ record.Trial, g runner.Progress) {
	every := newLine
	if p.tty {
		every = redraw
	}
	if g.Elapsed-p.last < every {
		return
	}
	p.last = g.Elapsed
	if p.tty {
		fmt.Fprintf(p.w, "\r\x1b[K%s %s", bar(g, 24), progressText(g))
		return
	}
	fmt.Fprintf(p.w, "%s: %s\n", p.scenario, progressText(g))
}

func (p *progress) end(g runner.Progress) {
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	fmt.Fprintf(p.w, "%s: %d of %d trials, %.1f/s, %d void, in %v\n",
		p.scenario, g.Done, g.Total, g.Rate(), g.Void, g.Elapsed.Round(100*time.Millisecond))
}

func bar(g runner.Progress, width int) string {
	n := 0
	if g.Total > 0 {
		n = width * g.Done / g.Total
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

func progressText(g runner.Progress) string {
	s := fmt.Sprintf("%d/%d trials, %.1f/s, %d at once", g.Done, g.Total, g.Rate(), g.Running)
	if g.Void > 0 {
		s += fmt.Sprintf(", %d void", g.Void)
	}
	if left := g.Left(); left > 0 {
		s += ", " + left.Round(time.Second).String() + " left"
	}
	return s
}

// meter shows how far something other than a run is.
type meter struct {
	w          *os.File
	name, unit string
	tty        bool
	start      time.Time
	last       time.Time
}

func newMeter(w *os.File, name, unit string) *meter {
	now := time.Now()
	return &meter{w: w, name: name, unit: unit, tty: isTerminal(w), start: now, last: now}
}

// show may be called from one goroutine at a time.
func (m *meter) show(done, total int) {
	every := newLine
	if m.tty {
		every = redraw
	}
	now := time.Now()
	if now.Sub(m.last) < every {
		return
	}
	m.last = now
	took := now.Sub(m.start)
	text := fmt.Sprintf("%s: %d of %d %s, %v", m.name, done, total, m.unit, took.Round(time.Second))
	if done > 0 && done < total {
		text += fmt.Sprintf(", %v left", time.Duration(float64(took)/float64(done)*float64(total-done)).Round(time.Second))
	}
	if m.tty {
		fmt.Fprintf(m.w, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(m.w, text)
}

func (m *meter) end() {
	if m.tty {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}

// table prints rows in aligned columns.
func table(w io.Writer, rows [][]string) {
	var width []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, r := range rows {
		for i, cell := range r {
			if i == len(r)-1 {
				fmt.Fprintln(w, cell)
				break
			}
			fmt.Fprint(w, cell, strings.Repeat(" ", width[i]-len([]rune(cell))+2))
		}
	}
}
