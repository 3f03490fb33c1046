package capture

import (
	"os"
	"testing"

	"github.com/punchlab/punchlab/lab/record"
)

func TestX(t *testing.T) {
	for _, n := range [][2]string{{"port-restricted-cone", "port-restricted-cone"}, {"symmetric", "port-restricted-cone"}} {
		c := playConfig{viewer: preset(t, n[0]), camera: preset(t, n[1]), seed: 1}
		c.link.Delay = 12 * ms1
		c.link.Loss = 0.02
		p := newPlay(t, c)
		p.trial(100)
		l, err := p.trace().Timeline(View{Roles: roles(c), Events: []Event{{At: requested + 130*ms1, What: "router home: reboot"}}})
		check(t, err)
		t.Log("\n" + l.Text(130))
		t.Log(l.Explain(record.Trial{Outcome: record.Relayed}), "--", l.Explain(record.Trial{Outcome: record.Direct}))
		os.WriteFile("/tmp/cap/"+n[0]+".svg", []byte(l.SVG()), 0o644)
	}
}
