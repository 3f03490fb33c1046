package cloud

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/punchlab/punchlab/impl/cloud/cloudtest"
)

// A store that refuses is told once, with what to do and without a secret; once it takes segments nothing is missing.
func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	g := cloudtest.Start(t)
	for _, tt := range []struct {
		name   string
		change func(*S3)
		reason Reason
		says   string
	}{
		{"wrong secret", func(s *S3) { s.SecretKey = "hunter2" }, Credentials, "check access key and secret"},
		{"wrong access key", func(s *S3) { s.AccessKey = "nobody" }, Credentials, "check access key and secret"},
		{"no bucket", func(s *S3) { s.Bucket = "not-there-yet" }, NoBucket, "make it, or name another one"},
		{"another CA", func(s *S3) { s.CA = x509.NewCertPool() }, Untrusted, "give the CA that signed it"},
		{"another name", func(s *S3) { s.Endpoint = strings.Replace(s.Endpoint, "127.0.0.1", "localhost", 1) }, Untrusted, "wanted to match localhost"},
		{"nobody there", func(s *S3) { s.Endpoint = "127.0.0.1:1" }, Unreachable, "check its address and the network"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil, func(c *Config) { c.Store, c.RetryMin = open(t, g, tt.change), 20*time.Millisecond })
			r.pour(5 * time.Second)
			var e []StoreFailed
			await(t, "the refusal to be told", func() bool {
				e = refusals(told[StoreFailed](r), tt.reason)
				return len(e) > 0 && r.Stats().Failures > 1
			})
			if len(e) != 1 || e[0].Reason != tt.reason || !strings.Contains(e[0].Err.Error(), tt.says) {
				t.Errorf("told %+v, want once %v and %q", e, tt.reason, tt.says)
			}
			if s := e[0].Err.Error(); strings.Contains(s, cloudtest.SecretKey) || strings.Contains(s, "hunter2") {
				t.Errorf("the error names a secret: %s", s)
			}
			if tt.reason != NoBucket {
				r.store = newMemory()
				r.abandon()
				return
			}
			if err := os.Mkdir(filepath.Join(g.Dir, "data", "not-there-yet"), 0o700); err != nil {
				t.Fatal(err)
			}
			r.close()
			ts, _ := archived(t, open(t, g, tt.change))
			wantPictures(t, ts, units(0, r.next))
			if len(told[StoreBack](r)) != 1 {
				t.Error("that the store is back is not told")
			}
		})
	}
}

// refusals are what a store was told to refuse, by a reason. versitygw answers and closes while the segment is still sent: the answer may be lost,
// as the connection is reset or the rest meets a closed one. That is told as another reason, and after it the first one once more.
func refusals(all []StoreFailed, reason Reason) (kept []StoreFailed) {
	if reason == Unreachable {
		return all
	}
	lost := false
	for _, e := range all {
		cut := errors.Is(e.Err, syscall.ECONNRESET) || errors.Is(e.Err, syscall.EPIPE) || errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF)
		if !cut && !(lost && len(kept) > 0 && kept[len(kept)-1].Reason == e.Reason) {
			kept = append(kept, e)
		}
		lost = cut
	}
	return kept
}

// Inside a bubble it is the year 2000, and the gateway's certificate is not valid yet.
func TestClockYearsOff(t *testing.T) {
	t.Parallel()
	g := cloudtest.Start(t)
	synctest.Test(t, func(t *testing.T) {
		err := open(t, g, nil).Put(t.Context(), "x", playlistType, []byte("x"))
		var e *StoreError
		if !errors.As(err, &e) || e.Reason != ClockSkew || !strings.Contains(err.Error(), "set it (NTP)") {
			t.Errorf("in the year 2000: %v, want that the clock is wrong", err)
		}
	})
}

// Without TLS the store's own check says so, and by how much.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for code, body := range map[string]string{
		"told": "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>", "seen by the date": "",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(3*time.Hour).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, body)
			}))
			defer s.Close()
			store, err := S3{Endpoint: s.Listener.Addr().String(), Insecure: true, Bucket: "bucket", AccessKey: "a", SecretKey: "s"}.Open()
			if err != nil {
				t.Fatal(err)
			}
			err = store.Put(t.Context(), "x", playlistType, []byte("x"))
			var e *StoreError
			if !errors.As(err, &e) || e.Reason != ClockSkew || !strings.Contains(err.Error(), "it is -3h0m0s from the store's") &&
				!strings.Contains(err.Error(), "it is -2h59m") { // the answer's way and the rest of a second, which its date has not
				t.Errorf("%v, want that the clock is three hours behind", err)
			}
		})
	}
}

// A segment that will be refused is not sent first.
func TestRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer s.Close()
	var wire counted
	store, err := S3{
		Endpoint: s.Listener.Addr().String(), Insecure: true, Bucket: "bucket", AccessKey: "a", SecretKey: "s", Dial: wire.dial,
		patience: time.Minute, // else a busy machine's store is not waited for
	}.Open()
	if err != nil {
		t.Fatal(err)
	}
	var e *StoreError
	if err := store.Put(t.Context(), "x", segmentType, make([]byte, 1<<20)); !errors.As(err, &e) || e.Reason != Forbidden {
		t.Errorf("%v, want %v", err, Forbidden)
	}
	if n := wire.sent.Load(); n > 4096 {
		t.Errorf("%d bytes were sent to be refused", n)
	}
}

// A segment that was damaged on the way is for the store to notice.
func TestPutCarriesAChecksum(t *testing.T) {
	t.Parallel()
	sum := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sum <- r.Header.Get("Content-MD5") }))
	defer s.Close()
	store, err := S3{Endpoint: s.Listener.Addr().String(), Insecure: true, Bucket: "bucket", AccessKey: "a", SecretKey: "s"}.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), "x", segmentType, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-sum; got != "ndTkYSaMgDT1yFZOFVxnpg==" {
		t.Errorf("the checksum is %q", got)
	}
}

// What servers say that no versitygw says here.
func TestReasons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		code   string
		want   Reason
	}{
		{403, "AccessDenied", Forbidden}, {403, "SignatureDoesNotMatch", Credentials}, {503, "SlowDown", Busy}, {500, "InternalError", Busy},
		{507, "XMinioStorageFull", StoreFull}, {507, "", StoreFull}, {400, "InvalidArgument", Refused}, {429, "", Busy}, {404, "NoSuchBucket", NoBucket},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", tt.code)
		}))
		store, err := S3{Endpoint: s.Listener.Addr().String(), Insecure: true, Bucket: "bucket", AccessKey: "a", SecretKey: "s"}.Open()
		if err != nil {
			t.Fatal(err)
		}
		err = store.Put(t.Context(), "x", playlistType, []byte("x"))
		var e *StoreError
		if !errors.As(err, &e) || e.Reason != tt.want || !strings.Contains(err.Error(), advice[tt.want]) {
			t.Errorf("%d %s: %v, want %v", tt.status, tt.code, err, tt.want)
		}
		s.Close()
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	got, err := ParseURL("https://s3.example.net:8443/cameras/home/door/")
	if want := (S3{Endpoint: "s3.example.net:8443", Bucket: "cameras", Prefix: "home/door"}); err != nil || got.Endpoint != want.Endpoint ||
		got.Bucket != want.Bucket || got.Prefix != want.Prefix || got.Insecure {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{
		"", "s3.example.net/cameras", "https://s3.example.net", "https://s3.example.net/", "ftp://h/b", "https:///b", "https://h/b?x", "%",
	} {
		if _, err := ParseURL(bad); err == nil || !strings.Contains(err.Error(), "want https://HOST[:PORT]/BUCKET[/PREFIX]") {
			t.Errorf("%q: %v, want what a URL looks like", bad, err)
		}
	}
	if _, err := (S3{Endpoint: "h", Bucket: "b", AccessKey: "a", SecretKey: "s"}).Open(); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a bucket that no store can have: %v", err)
	}
	if _, err := ParseURL("https://me:hunter2@h/b"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a URL with a password: %v, want a refusal without it", err)
	}
}

// A store may name what nobody has asked for: that is not taken for an object, and ends no recorder.
func TestListsOfOthersObjects(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, `<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>`+
			`<Contents><Key>x</Key><Size>1</Size></Contents><Contents><Key></Key></Contents><Contents><Key>other/name</Key></Contents>`+
			`<Contents><Key>home/name</Key><Size>7</Size></Contents></ListBucketResult>`)
	}))
	defer s.Close()
	store, err := S3{Endpoint: strings.TrimPrefix(s.URL, "http://"), Insecure: true, Bucket: "bucket", Prefix: "home", AccessKey: "a", SecretKey: "s"}.Open()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := store.List(t.Context(), "")
	if err != nil || len(objects) != 1 || objects[0] != (Object{Name: "name", Size: 7}) {
		t.Errorf("%v, %v", objects, err)
	}
}
