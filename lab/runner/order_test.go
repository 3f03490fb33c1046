package runner

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/record"
)

// TestOrderIsThatOfTrials: however trials end, the rule sees and the sink gets the same.
func TestOrderIsThatOfTrials(t *testing.T) {
	type id struct{ cell, trial, attempt int }
	var all []record.Trial
	for cell := range 3 {
		for n := range 12 {
			if n%5 == 3 {
				all = append(all, record.Trial{Cell: cell, Trial: n, Outcome: record.HarnessError})
			}
			all = append(all, record.Trial{Cell: cell, Trial: n, Attempt: min(1, n%5/3), Outcome: record.Direct})
		}
	}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		kept, dropped := map[int][]id{}, 0
		o := Order{
			Stop: func(cell int, prefix []record.Trial) bool { return cell == 1 && len(prefix) == 9 },
			Keep: func(r record.Trial) error {
				kept[r.Cell] = append(kept[r.Cell], id{r.Cell, r.Trial, r.Attempt})
				return nil
			},
			Drop: func(record.Trial) { dropped++ },
		}
		for _, rec := range shuffled(all, r) {
			if err := o.Add(rec); err != nil {
				t.Fatal(err)
			}
		}
		if !o.Ended(1) || o.Ended(0) || dropped != 3 {
			t.Fatalf("ended %v and %v, %d dropped", o.Ended(1), o.Ended(0), dropped)
		}
		for cell := range 3 {
			var want []id
			for _, rec := range all {
				if rec.Cell == cell && (cell != 1 || rec.Trial < 9) {
					want = append(want, id{cell, rec.Trial, rec.Attempt})
				}
			}
			if diff := cmp.Diff(want, kept[cell], cmp.AllowUnexported(id{})); diff != "" {
				t.Fatalf("cell %d: %s", cell, diff)
			}
		}
	}
}

// shuffled leaves the attempts of a trial in their order, as those who run them do.
func shuffled(all []record.Trial, r *rand.Rand) []record.Trial {
	out := append([]record.Trial(nil), all...)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	first := map[[2]int]int{}
	for i, rec := range out {
		k := [2]int{rec.Cell, rec.Trial}
		if j, ok := first[k]; ok && out[j].Attempt > rec.Attempt {
			out[i], out[j] = out[j], out[i]
		} else if !ok {
			first[k] = i
		}
	}
	return out
}

// TestOrderDoesNotWaitForever: a trial that the lab failed each time is handed on as such, and the next one follows.
func TestOrderDoesNotWaitForever(t *testing.T) {
	var kept []int
	o := Order{
		Stop: func(int, []record.Trial) bool { return false },
		Keep: func(r record.Trial) error { kept = append(kept, r.Trial); return nil },
	}
	add := func(n, attempt int, outcome record.Outcome) {
		t.Helper()
		if err := o.Add(record.Trial{Trial: n, Attempt: attempt, Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	add(1, 0, record.Direct)
	for attempt := range maxAttempts {
		if len(kept) > 0 {
			t.Fatalf("%v handed on before trial 0 has come to its end", kept)
		}
		add(0, attempt, record.HarnessError)
	}
	if len(kept) != maxAttempts+1 || kept[maxAttempts] != 1 {
		t.Errorf("handed on %v", kept)
	}
}

func TestOrderPassesErrorsOn(t *testing.T) {
	full := errors.New("no space left on device")
	o := Order{Keep: func(record.Trial) error { return full }}
	if err := o.Add(record.Trial{}); !errors.Is(err, full) {
		t.Error(err)
	}
	o.Stop = func(int, []record.Trial) bool { return true }
	if err := o.Add(record.Trial{Outcome: record.Failed}); !errors.Is(err, full) {
		t.Error(err)
	}
}

// TestOrderGoesOn: what an earlier part kept counts and is not kept again.
func TestOrderGoesOn(t *testing.T) {
	var kept []int
	dropped := 0
	o := Order{Drop: func(record.Trial) { dropped++ }}
	o.Stop = func(_ int, prefix []record.Trial) bool { return len(prefix) == 4 }
	o.Keep = func(r record.Trial) error { kept = append(kept, r.Trial); return nil }
	for _, n := range []int{0, 1} {
		o.Recorded(record.Trial{Trial: n, Outcome: record.HarnessError})
		o.Recorded(record.Trial{Trial: n, Attempt: 1, Outcome: record.Direct})
	}
	for _, n := range []int{4, 3, 2, 5, 0, 2} { // some twice: as of a worker that was thought dead
		if err := o.Add(record.Trial{Trial: n, Outcome: record.Direct}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{2, 3}, kept); diff != "" || !o.Ended(0) || dropped != 4 {
		t.Errorf("ended %v, %d dropped: %s", o.Ended(0), dropped, diff)
	}
}

// TestPlanGoesOn where the records that are there leave off.
func TestPlanGoesOn(t *testing.T) {
	var p Plan
	for _, r := range []record.Trial{
		{Cell: 1, Outcome: record.HarnessError}, {Cell: 1, Attempt: 1, Outcome: record.Failed},
		{Cell: 1, Trial: 2, Attempt: 2, Outcome: record.HarnessError},
	} {
		if err := p.Resume(r); err != nil {
			t.Fatal(err)
		}
	}
	type state struct {
		verdict  bool
		attempts int
	}
	for k, want := range map[[2]int]state{{1, 0}: {true, 2}, {1, 2}: {false, 3}, {1, 1}: {}, {0, 0}: {}} {
		if verdict, attempts := p.Done(k[0], k[1]); (state{verdict, attempts}) != want {
			t.Errorf("cell %d trial %d: verdict %v after %d attempts, want %+v", k[0], k[1], verdict, attempts, want)
		}
	}
}
