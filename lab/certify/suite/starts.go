package suite

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/reports"
)

// earlierFolder is where the evidence of starts that came to nothing is kept: earlier/NAT-1/start-1.
const earlierFolder = "earlier"

// interrupted is how a start ended that was cut short in order.
const interrupted = "interrupted"

func earlier(id string, n int) string {
	return path.Join(earlierFolder, id, fmt.Sprintf("start-%d", n))
}

// begin writes down that a case, or the honesty probe, is begun, and sets aside what an earlier start of it has left in a folder. It returns
// how often it has been begun now.
func (r *run) begin(id, folder string, at time.Time) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, err = r.starts.Begin(id, at); err != nil || n == 1 {
		return n, err
	}
	return n, r.dir.setAside(folder, earlier(id, n-1))
}

// ended writes down how it ended.
func (r *run) ended(id, how, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts.End(id, r.o.Now(), how, strings.ToValidUTF8(why, "�"))
}

// setAside moves a folder that holds something; one that is not there is passed over.
func (f folder) setAside(from, to string) error {
	entries, err := os.ReadDir(f.path(from))
	if err != nil || len(entries) == 0 {
		return ignoreMissing(err)
	}
	if err := os.MkdirAll(f.path(path.Dir(to)), 0o755); err != nil {
		return fmt.Errorf("keep what an earlier start left: %w", err)
	}
	if err := os.Rename(f.path(from), f.path(to)); err != nil {
		return fmt.Errorf("keep what an earlier start left: %w", err)
	}
	return nil
}

// counted is a result with how often its case was begun. A fail that was already known is not repeated away: the case fails whatever it came
// to now.
func (r *run) counted(result certify.Result) certify.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.starts.Of(result.Case)
	result.Starts = len(all)
	for _, s := range all[:max(0, len(all)-1)] {
		if v := certify.Verdict(s.Ended); v != certify.Fail && v != certify.Unsupported || !result.Verdict.Passed() && result.Verdict != certify.Informational {
			continue
		}
		result.Reason = fmt.Sprintf("start %d of it came to %s (%s), and that result is gone; now it came to %s", s.N, s.Ended, s.Why, result.Verdict)
		result.Verdict = certify.Fail
		break
	}
	return result
}

// finished reports whether a case's newest start has come to a verdict, and how often it was begun.
func (r *run) finished(id string) (starts int, done bool) {
	all := r.starts.Of(id)
	if len(all) == 0 {
		return 0, false
	}
	how := all[len(all)-1].Ended
	return len(all), how != "" && how != interrupted
}

// toldStarts are a case's starts as a reader is told of them, where there were several.
func (r *run) toldStarts(id string) (all []reports.Start) {
	starts := r.starts.Of(id)
	if len(starts) < 2 {
		return nil
	}
	for _, s := range starts {
		one := reports.Start{N: s.N, Began: s.Began, Ended: s.Ended, Why: s.Why}
		if _, err := os.Lstat(r.dir.path(earlier(id, s.N))); err == nil {
			one.Link = earlier(id, s.N)
		}
		all = append(all, one)
	}
	return all
}

// openStarts opens the list of a new run, or of one that goes on.
func (r *run) openStarts() (err error) {
	name := r.dir.path(evidence.StartsFile)
	if _, err := os.Lstat(name); r.o.Resume && err != nil {
		return refuse("--resume: %s: how often each case was started is not known any more, so nothing can be certified by going on: %w",
			r.o.Out, err.(*fs.PathError).Err)
	}
	if r.starts, err = evidence.OpenStarts(name); err != nil && r.o.Resume {
		return refuse("--resume: %w", err)
	}
	return err
}
