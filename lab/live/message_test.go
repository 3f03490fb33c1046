package live

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// filled is an impairment none of whose fields is zero, so that one that the message forgets is missed. Its trace goes
// another way.
func filled(t testing.TB) (i link.Impairment) {
	v := reflect.ValueOf(&i).Elem()
	for k := range v.NumField() {
		switch f := v.Field(k); f.Kind() {
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(k) + 1)
		case reflect.Uint8:
			f.SetUint(uint64(k) + 1)
		case reflect.Float64:
			f.SetFloat(float64(k) / 100)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Pointer:
			if v.Type().Field(k).Name != "Trace" {
				f.Set(reflect.ValueOf(&link.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.2, LossGood: 0.3, LossBad: 0.4}))
			}
		default:
			t.Fatalf("link.Impairment has a field of kind %v: extend the message and this test", f.Kind())
		}
	}
	return i
}

var (
	count     = fabric.Count{Packets: 1, Bytes: 2}
	someStats = Stats{
		Lateness: fabric.Lateness{P50: 1, P99: 2, Max: 3, N: 4},
		Uplinks: []UplinkStats{
			{UplinkStats: fabric.UplinkStats{Name: "a", Up: count, Down: fabric.Count{Packets: 3, Bytes: 4}, Drops: link.Drops{link.Lost: 5, link.Overload: 6}}, id: 7},
			{UplinkStats: fabric.UplinkStats{Name: "b"}},
		},
		Routers:  []RouterStats{{RouterStats: fabric.RouterStats{Name: "r", Out: count, In: count, Drops: link.Drops{link.Down: 8}}}},
		Stations: []StationStats{{StationStats: fabric.StationStats{Name: "s", Up: count, Down: count}, Router: "r", id: 9}},
	}
)

func encoded(f func(*encoder)) []byte {
	var e encoder
	f(&e)
	return e.b
}

func TestMessagesSurviveTheWay(t *testing.T) {
	i := filled(t)
	d := decoder{b: encoded(func(e *encoder) { e.impairment(i, 77) })}
	got, trace := d.impairment()
	if diff := cmp.Diff(i, got); diff != "" || trace != 77 || d.err != nil || len(d.b) != 0 {
		t.Errorf("impairment (-sent +got), trace %d, %v, %d bytes left:\n%s", trace, d.err, len(d.b), diff)
	}
	d = decoder{b: encoded(func(e *encoder) { e.stats(someStats) })}
	hidden := cmp.AllowUnexported(UplinkStats{}, RouterStats{}, StationStats{})
	if diff := cmp.Diff(someStats, d.stats(), hidden); diff != "" || d.err != nil || len(d.b) != 0 {
		t.Errorf("stats (-sent +got), %v, %d bytes left:\n%s", d.err, len(d.b), diff)
	}
}

// TestBehaviorsSurviveTheWay: every preset is the same after its way through JSON.
func TestBehaviorsSurviveTheWay(t *testing.T) {
	for _, p := range nat.Presets() {
		d := decoder{b: encoded(func(e *encoder) { e.json(p.Behavior) })}
		var got nat.Behavior
		d.json(&got)
		if diff := cmp.Diff(p.Behavior, got); diff != "" || d.err != nil {
			t.Errorf("%s (-sent +got), %v:\n%s", p.Name, d.err, diff)
		}
	}
}

func TestErrorsSurviveTheWay(t *testing.T) {
	for _, want := range append(sentinels, errors.New("some other")) {
		err := fmt.Errorf("map port: %w", want)
		got := errorOf(codeOf(err), err.Error())
		if got.Error() != err.Error() {
			t.Errorf("%q became %q", err, got)
		}
		for _, s := range sentinels {
			if errors.Is(got, s) != (s == want) {
				t.Errorf("%q is %q: %v", got, s, errors.Is(got, s))
			}
		}
	}
}

func TestMessagesCutOff(t *testing.T) {
	i := filled(t)
	for n := range encoded(func(e *encoder) { e.impairment(i, 1) }) {
		d := decoder{b: encoded(func(e *encoder) { e.impairment(i, 1) })[:n]}
		if d.impairment(); d.err == nil {
			t.Errorf("an impairment of %d bytes was accepted", n)
		}
	}
	for n := range encoded(func(e *encoder) { e.stats(someStats) }) {
		d := decoder{b: encoded(func(e *encoder) { e.stats(someStats) })[:n]}
		if d.stats(); d.err == nil {
			t.Errorf("stats of %d bytes were accepted", n)
		}
	}
}

// FuzzDecode: no message of the other process makes this one panic.
func FuzzDecode(f *testing.F) {
	f.Add(encoded(func(e *encoder) { e.impairment(filled(f), 1) }))
	f.Add(encoded(func(e *encoder) { e.stats(someStats) }))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a := decoder{b: b}
		a.impairment()
		s := decoder{b: b}
		s.stats()
		j := decoder{b: b}
		var router routerBody
		j.json(&router)
	})
}
