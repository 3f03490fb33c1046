package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Messages that the server has given out and that never arrived are asked for again: in the middle, and the last ones.
func TestLogReaderAsksAgain(t *testing.T) {
	s, err := Embed(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.connection().connect("test", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.nc.Close()
	stream, err := c.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "log", Subjects: []string{"log.*"}})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := c.js.Publish(t.Context(), fmt.Sprintf("log.%d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := &logReader{stream: stream}
	var got []string
	read := func(n int) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for len(got) < n {
			msgs, err := r.next(ctx, 10*time.Millisecond)
			if err != nil || ctx.Err() != nil {
				t.Fatalf("%d messages, %v, %v", len(got), err, ctx.Err())
			}
			for _, m := range msgs {
				got = append(got, m.Subject())
			}
		}
	}
	steal := func(n int) {
		b, err := r.consumer.Fetch(n, jetstream.FetchMaxWait(9*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for range b.Messages() {
			n--
		}
		if n > 0 {
			t.Fatalf("%d were not there to steal: %v", n, b.Error())
		}
	}
	publish(0, 5)
	read(5)
	publish(5, 9)
	steal(2)
	publish(9, 12)
	read(12)
	publish(12, 14)
	steal(2)
	read(14)
	for i, subject := range got {
		if subject != fmt.Sprintf("log.%d", i) {
			t.Fatalf("message %d is %s of %v", i, subject, got)
		}
	}
}

// Streams of runs that no job is about go; those of a job, of a coordinator that is just beginning, and of others stay.
func TestSweep(t *testing.T) {
	s, err := Embed(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.connection().connect("test", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.nc.Close()
	if _, err := c.openJobs(t.Context(), time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	o := Options{AckWait: time.Second, MaxAge: time.Hour, MaxDeliver: 1, Replicas: 1}
	wanted, orphan := &job{Schema: jobSchema, Run: "wanted", Epoch: "1"}, &job{Schema: jobSchema, Run: "orphan", Epoch: "1"}
	for _, j := range []*job{wanted, orphan} {
		if _, _, err := c.openStreams(t.Context(), j, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.putJob(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	if _, err := c.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "punchlab-of-somebody-else", Subjects: []string{"else"}}); err != nil {
		t.Fatal(err)
	}
	for _, age := range []struct {
		time.Duration
		left int
	}{{0, 6}, {time.Hour, 4}} {
		if err := c.sweep(t.Context(), time.Now().Add(age.Duration)); err != nil {
			t.Fatal(err)
		}
		var names []string
		for n := range c.js.StreamNames(t.Context()).Name() {
			names = append(names, n)
		}
		if len(names) != age.left {
			t.Errorf("after %v there are %v", age.Duration, names)
		}
	}
	if _, err := c.js.Stream(t.Context(), orphan.stream("units")); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the orphan is there: %v", err)
	}
}
