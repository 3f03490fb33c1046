package lab

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/punchlab/punchlab/lab/link"
)

// drawLinks draws the links of the topology's own:
//
//	links
//	└─ measured-lte
//	     up 26ms ±6ms 13.6 Mbit/s codel 0.5 % loss burst loss in order · queue 64 kB
//	     down 26ms trace drive.down, 12 Mbit/s in the mean
//	     source: measured 2026-11 …
func (t *Topology) drawLinks() *branch {
	root := &branch{lines: []string{"links"}}
	for _, p := range t.Links {
		root.add(&branch{lines: []string{p.Name, "  up " + drawFigures(p.Up), "  down " + drawFigures(p.Down), "  source: " + p.Source}})
	}
	return root
}

// drawFigures is drawImpairment and what that leaves out.
func drawFigures(i link.Impairment) string {
	words := []string{drawImpairment(i)}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if i.Trace != nil {
		add("%s in the mean over %v", bitRate(i.Trace.Rate()), i.Trace.Period())
	}
	if i.KeepOrder {
		add("in order")
	}
	if i.QueueBytes > 0 {
		add("queue %s", byteSize(i.QueueBytes))
	}
	if i.AQM == link.CoDel && (i.Target > 0 || i.Interval > 0) {
		target, interval := i.Target, i.Interval
		if target == 0 {
			target = link.DefaultTarget
		}
		if interval == 0 {
			interval = link.DefaultInterval
		}
		add("target %v, interval %v", target, interval)
	}
	if b := i.Burst; b != nil {
		add("bursts: good to bad %s, bad to good %s, loss %s and %s", percent(b.GoodToBad), percent(b.BadToGood), percent(b.LossGood), percent(b.LossBad))
	}
	if i.Reorder > 0 {
		add("reordered by %v", i.ReorderBy)
	}
	return strings.Join(words, " · ")
}

func percent(p float64) string { return strconv.FormatFloat(p*100, 'g', 4, 64) + " %" }

// byteSize is a size with the largest unit that leaves one digit before the point.
func byteSize(n int) string {
	units := []string{"B", "kB", "MB", "GB"}
	v, u := float64(n), 0
	for v >= 1000 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + " " + units[u]
}

// svgNote is how many characters a line of the notes below the picture has at most, where its words allow it.
const svgNote = 110

// notes are the lines below the picture that describe the links of the topology's own. Those that name one have no indent.
func (t *Topology) notes() (lines []string) {
	for _, p := range t.Links {
		lines = append(lines, p.Name)
		for _, text := range []string{"↑ " + drawFigures(p.Up), "↓ " + drawFigures(p.Down), "source: " + p.Source} {
			for _, l := range wrapWords(text, svgNote) {
				lines = append(lines, "  "+l)
			}
		}
	}
	return lines
}

func wrapWords(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// drawNotes writes the notes from y on.
func drawNotes(w *svg, lines []string, y int) {
	if len(lines) > 0 {
		w.text("summary", svgMargin, y, "start", "Links of this topology's own:")
	}
	for _, l := range lines {
		y += svgLine
		if text, figures := strings.CutPrefix(l, "  "); figures {
			w.text("fine", svgMargin+svgPad, y, "start", text)
		} else {
			w.text("chipname", svgMargin, y, "start", l)
		}
	}
}
