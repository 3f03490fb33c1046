package tape

import (
	"testing"
	"time"
)

// What a host sends counts, by the second, whether or not there was room for it.
func TestSent(t *testing.T) {
	x := New()
	at := time.Unix(1000, 0)
	for i := range 30 { // ten a second, larger in the second one
		size := 100
		if i/10 == 1 {
			size = 200
		}
		x.count("camera", at.Add(time.Duration(i)*100*time.Millisecond), size)
	}
	if got, want := x.Sent("camera"), (Sent{4000, 30, 2000, 10}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := x.Sent("viewer"); got != (Sent{}) {
		t.Errorf("%+v of who sent nothing", got)
	}
}
