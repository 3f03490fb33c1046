package work_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// talk is a client of the test's own.
func talk(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(30*time.Second)) // the server may wait for its disk
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// streams are the names of a server's.
func streams(t testing.TB, url string) (names []string) {
	t.Helper()
	list := talk(t, url).StreamNames(t.Context())
	for n := range list.Name() {
		names = append(names, n)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}
