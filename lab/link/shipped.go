package link

import (
	"bytes"
	"embed"
	"fmt"
	"sync"
)

// shipped are the traces of the presets, made by tracegen.
//
//go:generate sh -c "for s in lte-drive wifi-crowded; do for d in up down; do go run ./tracegen $s $d 1 > traces/$s-$d.trace; done; done"
//go:embed traces/*.trace
var shipped embed.FS

// shippedTrace reads an embedded trace once. A bad one is a mistake in this package.
var shippedTrace = func() func(name string) *Trace {
	var mu sync.Mutex
	read := map[string]*Trace{}
	return func(name string) *Trace {
		mu.Lock()
		defer mu.Unlock()
		if t, ok := read[name]; ok {
			return t
		}
		b, err := shipped.ReadFile("traces/" + name + ".trace")
		if err != nil {
			panic(fmt.Sprintf("link: no trace %s is embedded", name))
		}
		t, err := ParseTrace(name, bytes.NewReader(b))
		if err != nil {
			panic("link: " + err.Error())
		}
		t.Anywhere = true
		read[name] = t
		return t
	}
}()

// Traces returns the shipped traces.
func Traces() []*Trace {
	var ts []*Trace
	for _, s := range shapes {
		ts = append(ts, shippedTrace(s.name+"-up"), shippedTrace(s.name+"-down"))
	}
	return ts
}
