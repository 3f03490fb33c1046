package reports

import (
	"math"
	"testing"

	"github.com/punchlab/punchlab/lab/record"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{percent(0, 10), "0 %"}, {percent(10, 10), "100 %"}, {percent(1, 3), "33.3 %"}, {percent(9999, 10000), "> 99.9 %"},
		{percent(1, 10000), "< 0.1 %"}, {percent(0, 0), "–"}, {interval(20, 20), "83.9–100 %"}, {interval(0, 0), tooFew},
		{short(199, 200), "99%"}, {short(1, 1000), "1%"}, {short(0, 3), "0%"}, {short(3, 3), "100%"},
		{seconds(0), "0 ms"}, {seconds(0.0000123), "12.3 µs"}, {seconds(0.04567), "45.7 ms"}, {seconds(0.9994), "999 ms"},
		{seconds(0.9996), "1 s"}, {seconds(12.345), "12.3 s"}, {seconds(185), "3 min 5 s"},
		{ratio(1.0412), "1.041×"}, {bits(2.05e6), "2.05 Mbit/s"}, {bits(64e3), "64 kbit/s"}, {bits(12), "12 bit/s"},
		{size(128), "128 B"}, {size(2.31), "2.3 B"}, {size(94321), "94.3 kB"}, {size(9.43e6), "9.43 MB"}, {size(2e9), "2 GB"},
		{count(999), "999"}, {count(1234567), "1,234,567"}, {count(-1234), "-1,234"}, {plural(1, "trial"), "1 trial"}, {plural(0, "trial"), "0 trials"},
		{span("37.1 ms", "38 ms"), "37.1–38 ms"}, {span("900 ms", "1.1 s"), "900 ms – 1.1 s"}, {span("1.04×", "1.1×"), "1.04–1.1×"}, {span("1 ms", "1 ms"), "1 ms"}, {span("−2 ms", "+3 ms"), "−2 to +3 ms"}, {span("−2 ms", "+3 s"), "−2 ms to +3 s"}, {span("1.2", "1.55"), "1.2–1.55"},
		{signedSeconds(-0.0123), "−12.3 ms"}, {signedSeconds(0.5), "+500 ms"}, {signedSeconds(0), "0 ms"}, {points(-3.14159), "−3.1"}, {points(0.001), "0"},
		{probability(0.00001), "< 0.0001"}, {probability(0.00042), "0.0004"}, {probability(0.0421), "0.042"}, {fleetSize("10000"), "10,000"}, {fleetSize("some"), "some"},
		{quantile(nil, 0.5, seconds), "–"}, {quantile([]float64{1, 2}, 0.95, seconds), tooFew}, {quantile([]float64{1, 2}, 0.5, seconds), "1.5 s"},
		{quantile([]float64{1, 2, 3, 4, 5, 6}, 0.5, seconds), "3.5 s (1–6 s)"},
		{slug("direct-rate", []param{{"a", "x y"}, {"b", "../z"}}), "direct-rate.x-y...-z"},
		{oracleKind("birthday(0.9, 256)"), "birthday"},
		{tie("n = 5, 12 ms and 5 %"), "n\u00a0=\u00a05, 12\u00a0ms and 5\u00a0%"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestRamps: lightness grows or falls all the way, and text on any color has at least 4.5 to 1.
func TestRamps(t *testing.T) {
	for name, r := range map[string]ramp{"cividis": cividis, "oranges": oranges} {
		up := luminance(r.at(1)) > luminance(r.at(0))
		last := luminance(r.at(0))
		for i := range 1001 {
			c := r.at(float64(i) / 1000)
			if got := contrast(c, textOn(c)); got < 4.5 {
				t.Errorf("%s at %d ‰: contrast %v", name, i, got)
			}
			l := luminance(c)
			if (l-last < -1e-3) == up && i > 0 && math.Abs(l-last) > 1e-3 {
				t.Errorf("%s at %d ‰: lightness turns", name, i)
			}
			last = l
		}
	}
}

// TestSpan: a far outlier is left beyond the axis and told of; a wide range is logarithmic.
func TestSpan(t *testing.T) {
	var xs []float64
	for i := range 200 {
		xs = append(xs, 0.036+float64(i)*1e-5)
	}
	d := distribution{curves: []curve{{"a", 0, append(xs, 3), 201}}, print: seconds, marks: []mark{{0.036, 0.036, ""}}}
	if _, high, log := d.span(); high > 0.05 || log {
		t.Errorf("axis ends at %v, log %v", high, log)
	}
	if got := d.beyond("trial"); got != "beyond the axis: 1 trial, up to 3 s" {
		t.Errorf("beyond: %q", got)
	}
	d = distribution{curves: []curve{{"a", 0, []float64{0.001, 0.01, 0.02}, 3}}, print: seconds}
	if low, high, log := d.span(); !log || low > 0.001 || high < 0.02 {
		t.Errorf("span %v–%v, log %v", low, high, log)
	}
	if got := d.beyond("trial"); got != "" {
		t.Errorf("beyond: %q", got)
	}
}

// TestTicks: round, in range, few enough to print and enough to read.
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		log       bool
	}{
		{0.035, 0.052, false}, {0.0004, 4, true}, {50e-6, 4e-3, true}, {0.001, 0.007, true}, {0, 200, false}, {1, 3.1, false}, {1e-6, 100, true},
	} {
		vs := (ticks{seconds, c.log, 400}).values(c.low, c.high)
		if len(vs) < 3 || len(vs) > 14 {
			t.Errorf("%v: ticks %v", c, vs)
		}
		for _, v := range vs {
			if v < c.low-1e-12 || v > c.high*(1+1e-9) {
				t.Errorf("%v: tick %v outside", c, v)
			}
		}
	}
}

// TestPick keeps failures and their order.
func TestPick(t *testing.T) {
	var trials []trial
	for i, o := range []record.Outcome{record.Direct, record.Direct, record.Failed, record.Relayed, record.Direct, record.HarnessError} {
		trials = append(trials, trial{number: int32(i), outcome: o})
	}
	var got []int
	got = append(got, pick(trials, 4)...)
	if len(got) != 4 || got[0] != 0 || got[1] != 2 || got[2] != 3 || got[3] != 5 {
		t.Errorf("picked %v", got)
	}
	if len(pick(trials, 0)) != 0 || len(pick(trials, 9)) != 6 {
		t.Error("pick at the ends")
	}
}
