package record

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// reader goes through a line. bad is set at the first thing that is not of the quick form; what is read afterwards means nothing.
type reader struct {
	b   []byte
	i   int
	p   *parser
	bad bool
}

// next takes c, or finds the line bad.
func (s *reader) next(c byte) {
	if s.bad || s.i >= len(s.b) || s.b[s.i] != c {
		s.bad = true
		return
	}
	s.i++
}

// peek reports whether c comes.
func (s *reader) peek(c byte) bool { return !s.bad && s.i < len(s.b) && s.b[s.i] == c }

// object calls f at the value of each field.
func (s *reader) object(f func(key []byte)) {
	s.next('{')
	for first := true; !s.bad && !s.peek('}'); first = false {
		if !first {
			s.next(',')
		}
		key := s.text()
		s.next(':')
		if !s.bad {
			f(key)
		}
	}
	s.next('}')
}

// array calls f at each value.
func (s *reader) array(f func()) {
	s.next('[')
	for first := true; !s.bad && !s.peek(']'); first = false {
		if !first {
			s.next(',')
		}
		if !s.bad {
			f()
		}
	}
	s.next(']')
}

// text is a string without escapes.
func (s *reader) text() []byte {
	s.next('"')
	from := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case s.bad || c == '\\' || c < ' ':
			s.bad = true
			return nil
		case c == '"':
			s.i++
			b := s.b[from : s.i-1]
			s.bad = !utf8.Valid(b)
			return b
		}
	}
	s.bad = true
	return nil
}

func (s *reader) word() string { return s.p.word(s.text()) }

// digits takes a number and reports whether it is a whole one.
func (s *reader) digits() (b []byte, whole bool) {
	from := s.i
	if s.peek('-') {
		s.i++
	}
	s.run(true)
	whole = true
	if s.peek('.') {
		s.i++
		s.run(false)
		whole = false
	}
	if s.peek('e') || s.peek('E') {
		s.i++
		if s.peek('+') || s.peek('-') {
			s.i++
		}
		s.run(false)
		whole = false
	}
	return s.b[from:s.i], whole
}

// run takes one digit or more; strict: none after a leading 0.
func (s *reader) run(strict bool) {
	from := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	s.bad = s.bad || s.i == from || strict && s.b[from] == '0' && s.i > from+1
}

func (s *reader) int() int {
	b, whole := s.digits()
	n, err := strconv.Atoi(string(b))
	s.bad = s.bad || !whole || err != nil
	return n
}

func (s *reader) uint() uint64 {
	b, whole := s.digits()
	n, err := strconv.ParseUint(string(b), 10, 64)
	s.bad = s.bad || !whole || err != nil
	return n
}

func (s *reader) float() float64 {
	b, _ := s.digits()
	f, err := strconv.ParseFloat(string(b), 64)
	s.bad = s.bad || err != nil
	return f
}

func (s *reader) pointer() *float64 {
	f := s.float()
	return &f
}

func (s *reader) floats() []float64 {
	all := make([]float64, 0, 32)
	s.array(func() { all = append(all, s.float()) })
	return all
}

func (s *reader) time() (t time.Time) {
	from := s.i
	s.text()
	s.bad = s.bad || t.UnmarshalJSON(s.b[from:s.i]) != nil
	return t
}
