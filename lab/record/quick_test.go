package record

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everything is a trial with all that a trial can have.
func everything() Trial {
	t := measured()[3]
	t.IdleS, t.PathChanges, t.Possible = f(3600), 2, &Possible{Via: "udp", Sockets: 256, Probes: 1024, Ports: 64512, P: 0.98, Silent: "viewer"}
	t.Events = []Event{{AtS: 1.5, What: "reboot camera"}, {AtS: 2, What: "kill rendezvous", Error: "it is gone"}}
	t.Cause, t.Pcap = "the viewer’s NAT is symmetric", "pcap/cell000-trial001.pcapng"
	t.StartedAt, t.EndedAt = time.Date(2026, 3, 14, 9, 26, 53, 589793238, time.UTC), time.Date(2026, 3, 14, 9, 26, 54, 0, time.FixedZone("", 3600))
	return t
}

// TestQuickIsSlow: each line that Writer writes is read quickly, as encoding/json reads it.
func TestQuickIsSlow(t *testing.T) {
	p := newParser()
	for i, tr := range append(measured(), everything()) {
		b, err := json.Marshal(tr)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{string(b), string(b) + "\n"} {
			quick, ok := p.quick([]byte(line))
			slow, err := parseTrial([]byte(line))
			if !ok || err != nil || !reflect.DeepEqual(quick, slow) {
				t.Errorf("%d: quick %v, slow %v: %+v and %+v", i, ok, err, quick, slow)
			}
		}
	}
}

// TestEachFieldIsReadQuickly: a field that is new in Trial, Media, … is to be added to quick.go.
func TestEachFieldIsReadQuickly(t *testing.T) {
	var fields func(v reflect.Value, path string)
	fields = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			name, one := path+"."+v.Type().Field(i).Name, v.Field(i)
			if one.Kind() == reflect.Slice && one.Len() > 0 && one.Index(one.Len()-1).Kind() == reflect.Struct {
				one = one.Index(one.Len() - 1)
			}
			if one.Kind() == reflect.Pointer && !one.IsNil() {
				one = one.Elem()
			}
			if one.IsZero() && name != "Trial.Cell" && name != "Trial.Error" {
				t.Errorf("%s is not in the example: add it there", name)
			}
			if one.Kind() == reflect.Struct && one.Type() != reflect.TypeFor[time.Time]() {
				fields(one, name)
			}
		}
	}
	fields(reflect.ValueOf(everything()), "Trial")
}

// TestOtherFormsAreReadSlowly: what is not of the quick form is no different for it.
func TestOtherFormsAreReadSlowly(t *testing.T) {
	b, err := json.Marshal(everything())
	if err != nil {
		t.Fatal(err)
	}
	line := string(b)
	for _, c := range [][2]string{
		{`"cell":0`, `"cell": 0`}, {`"cell":0`, `"Cell":0`}, {`"cell":0`, `"cell":0,"cell":0`}, {`"cell":0`, `"cell":null`}, {`"cell":0`, `"cell":0.0`},
		{`"cell":0`, `"cell":00`}, {`"cell":0`, `"cell":-`}, {`"cell":0`, `"cell":1e0`}, {`"cell":0`, `"cell":99999999999999999999`},
		{`"seed":11`, `"seed":-1`}, {`"udp"`, `"\u0075dp"`}, {`"udp"`, "\"u\xffp\""}, {`"udp"`, "\"u\x01p\""}, {`"sockets":256`, `"sockets":2.5`},
		{`"camera.nat":"full-cone"`, `"camera.nat":null`}, {`"camera.nat":"full-cone"`, `"camera.nat":1`}, {`"p50":0.00001`, `"p50":.1`},
		{`"p50":0.00001`, `"p50":1.`}, {`"p50":0.00001`, `"p50":1e`}, {`"p50":0.00001`, `"p50":+1`}, {`"p50":0.00001`, `"p50":1e999`}, {`"p50":`, `"p51":`},
		{`"latency_s":[`, `"latency_s":[,`}, {`"latency_s":[`, `"latency_s":[1 ,`}, {`"ended_at":"2026`, `"ended_at":"20x6`}, {`,"outcome":"direct"`, ``},
		{`"events":[`, `"events":[{"at_s":1},`}, {`"events":[`, `"events":[null,`}, {`"frames_sent":3`, `"frames_sent":3,"frames_sent":3`},
		{`{"schema"`, `{,"schema"`},
		{`"relay":0`, `"relay":0.5`}, {`"bytes":{`, `"bytes":{"relay":1,`}, {`"bytes":{`, `"bytes":{"x":1},"bytes":{`},
		{`"error":"it`, `"other":"it`}, {`"pcap":"`, `"pcap":["`},
	} {
		if !strings.Contains(line, c[0]) {
			t.Fatalf("the example has no %s", c[0])
		}
		changed := []byte(strings.Replace(line, c[0], c[1], 1))
		want, wantErr := parseTrial(changed)
		got, err := newParser().parse(changed)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v\n%+v\n%+v", c[1], err, wantErr, got, want)
		}
	}
	for cut := range len(line) {
		if _, ok := newParser().quick([]byte(line[:cut])); ok {
			t.Fatalf("cut at %d, it is read quickly", cut)
		}
	}
	for _, tail := range []string{" ", "\n\n", "\n{}", "x", "}"} {
		if _, ok := newParser().quick([]byte(line + tail)); ok {
			t.Errorf("followed by %q, it is read quickly", tail)
		}
	}
}
