package link

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// OpportunityBytes is what one line of a trace lets through (mm-link(1)).
const OpportunityBytes = 1500

// maxTrace bounds a trace: an hour at 50 Gbit/s, or some 60 MB.
const maxTrace = 1 << 24

// Trace is a packet delivery schedule in mahimahi's format (Netravali et al., USENIX ATC 2015; mm-link(1)): the times
// at which a link sends up to OpportunityBytes of what waits. What an opportunity does not find waiting is wasted.
// After the last one the trace starts over. It is plain data and must not change while a Queue uses it.
//
//	file   1│1│3│6   ms    0    1    2    3    4    5    6=0  7    …
//	                            ▮▮        ▮              ▮    ▮▮
type Trace struct {
	Name     string
	Times    []uint32 // of the opportunities, in ms from the trace's start, ascending; the last one is the period
	Anywhere bool     // a Queue enters the trace at a millisecond drawn from its seed, not at its start
}

// ParseTrace reads a mahimahi trace: a line each opportunity, with its time in whole milliseconds. Name is for errors
// and for whoever reads results. Its errors tell the line.
func ParseTrace(name string, r io.Reader) (*Trace, error) {
	t := &Trace{Name: name}
	s := bufio.NewScanner(r)
	for s.Scan() {
		line := len(t.Times) + 1
		v, err := strconv.ParseUint(s.Text(), 10, 32)
		switch {
		case err != nil:
			return nil, fmt.Errorf("parse trace %s: line %d: %.40q is no time: give whole milliseconds", name, line, s.Text())
		case line > 1 && uint32(v) < t.Times[line-2]:
			return nil, fmt.Errorf("parse trace %s: line %d: %d ms comes after %d ms: sort the lines", name, line, v, t.Times[line-2])
		case line > maxTrace:
			return nil, fmt.Errorf("parse trace %s: line %d: a trace has at most %d", name, line, maxTrace)
		}
		t.Times = append(t.Times, uint32(v))
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("parse trace %s: line %d: %w", name, len(t.Times)+1, err)
	}
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("parse trace %s: line %d: %w", name, len(t.Times), err)
	}
	return t, nil
}

// Validate tells why the trace is none.
func (t *Trace) Validate() error {
	n := len(t.Times)
	switch {
	case n == 0:
		return errors.New("trace is empty: give a line for each packet that may pass")
	case n > maxTrace:
		return fmt.Errorf("trace has %d opportunities: give at most %d", n, maxTrace)
	case !slices.IsSorted(t.Times):
		return errors.New("trace is not in ascending order: sort its times")
	case t.Times[n-1] == 0:
		return errors.New("trace takes no time: give it a last time above 0")
	}
	return nil
}

// Period is the time after which the trace starts over.
func (t *Trace) Period() time.Duration {
	return time.Duration(t.Times[len(t.Times)-1]) * time.Millisecond
}

// Rate is the mean rate in bit/s.
func (t *Trace) Rate() int64 {
	return int64(len(t.Times)) * OpportunityBytes * 8 * 1000 / int64(t.Times[len(t.Times)-1])
}

// Digest is the SHA-256 of the trace as a file: what a result names beside the trace's name.
func (t *Trace) Digest() string {
	h := sha256.New()
	var b []byte
	for _, v := range t.Times {
		b = append(strconv.AppendUint(b[:0], uint64(v), 10), '\n')
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// AppendText appends the trace as a file.
func (t *Trace) AppendText(b []byte) ([]byte, error) {
	for _, v := range t.Times {
		b = append(strconv.AppendUint(b, uint64(v), 10), '\n')
	}
	return b, nil
}

// MarshalBinary packs the trace, about a byte an opportunity:
//
//	anywhere u8 │ len(name) uvarint │ name │ (time − the time before) uvarint …
func (t *Trace) MarshalBinary() ([]byte, error) {
	b := make([]byte, 1, len(t.Times)+len(t.Name)+16)
	if t.Anywhere {
		b[0] = 1
	}
	b = append(binary.AppendUvarint(b, uint64(len(t.Name))), t.Name...)
	var last uint32
	for _, v := range t.Times {
		b = binary.AppendUvarint(b, uint64(v-last))
		last = v
	}
	return b, nil
}

var errPacked = errors.New("unpack trace: malformed")

// UnmarshalBinary unpacks what MarshalBinary has packed, and checks that it is a trace.
func (t *Trace) UnmarshalBinary(b []byte) error {
	if len(b) < 2 {
		return errPacked
	}
	u := Trace{Anywhere: b[0] != 0}
	n, k := binary.Uvarint(b[1:])
	if k <= 0 || n > uint64(len(b)-1-k) {
		return errPacked
	}
	b = b[1+k:]
	u.Name, b = string(b[:n]), b[n:]
	var at uint64
	for len(b) > 0 {
		d, k := binary.Uvarint(b)
		if at += d; k <= 0 || d > 1<<32 || at >= 1<<32 {
			return errPacked
		}
		u.Times, b = append(u.Times, uint32(at)), b[k:]
	}
	if err := u.Validate(); err != nil {
		return fmt.Errorf("unpack trace: %w", err)
	}
	*t = u
	return nil
}

// schedule is where a Queue stands in its trace. Opportunities are counted on through the trace's repetitions.
type schedule struct {
	trace  *Trace
	digest string
	begun  bool
	origin time.Duration // when the trace's first repetition began
	next   int64         // the first opportunity that is not used up
	left   int           // bytes that it has left, at least one
}

// follow makes t the trace. Where it is the one already followed, the place stays.
func (s *schedule) follow(t *Trace) {
	var digest string
	if t != nil && t != s.trace {
		digest = t.Digest()
	} else if t != nil {
		digest = s.digest
	}
	if digest != s.digest {
		*s = schedule{}
	}
	s.trace, s.digest = t, digest
}

// arrive skips the opportunities that are past for a packet that arrives at now, and those before busy. It returns
// the bytes that wait.
func (s *schedule) arrive(now, busy time.Duration, seed uint64) (waiting int) {
	if !s.begun {
		s.begun, s.origin, s.left = true, now, OpportunityBytes
		if s.trace.Anywhere {
			ms := Mix(seed^0x7472616365) % uint64(s.trace.Times[len(s.trace.Times)-1])
			s.origin -= time.Duration(ms) * time.Millisecond
		}
		s.next = s.first(max(now, busy))
	}
	if s.time() < now {
		s.next, s.left = s.first(now), OpportunityBytes
		return 0
	}
	return int(s.next-s.first(now))*OpportunityBytes + OpportunityBytes - s.left
}

// send uses up size bytes of opportunities and returns when the last byte has been sent.
func (s *schedule) send(size int) (sent time.Duration) {
	s.left -= size
	for s.left < 0 {
		s.next++
		s.left += OpportunityBytes
	}
	sent = s.time()
	if s.left == 0 {
		s.next++
		s.left = OpportunityBytes
	}
	return sent
}

// time is that of the next opportunity.
func (s *schedule) time() time.Duration {
	n := int64(len(s.trace.Times))
	return s.origin + time.Duration(s.next/n)*s.trace.Period() + time.Duration(s.trace.Times[s.next%n])*time.Millisecond
}

// first is the first opportunity that is not before now.
func (s *schedule) first(now time.Duration) int64 {
	t, period := max(now-s.origin, 0), s.trace.Period()
	round := t / period
	if t %= period; t == 0 && round > 0 { // the last of one repetition comes before the first of the next
		round, t = round-1, period
	}
	ms := uint32((t + time.Millisecond - 1) / time.Millisecond)
	k, _ := slices.BinarySearch(s.trace.Times, ms)
	return int64(round)*int64(len(s.trace.Times)) + int64(k)
}
