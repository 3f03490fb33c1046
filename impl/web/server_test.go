package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Without the token nothing is told; with it, by either way, everything; and it does not stay in the address.
func TestToken(t *testing.T) {
	_, h := serve(t, newLane(), Options{Token: "s3cret"})
	for _, path := range []string{"/", "/app.js", "/api/cameras", "/api/events", "/whep/door/x", "/?token=S3cret"} {
		r := do(t, "GET", h.URL+path, "", "", "")
		if r.StatusCode != http.StatusUnauthorized || r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	if r := post(t, h.URL+"/whep/door", "other", "application/sdp", ""); r.StatusCode != http.StatusUnauthorized {
		t.Error(r.Status)
	}
	if r := do(t, "GET", h.URL+"/api/cameras", "s3cret", "", ""); r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	r, err := browser.Get(h.URL + "/?token=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusOK || r.Request.URL.RawQuery != "" {
		t.Errorf("%s at %s", r.Status, r.Request.URL)
	}
	if r, err := browser.Get(h.URL + "/api/cameras"); err != nil || r.StatusCode != http.StatusOK {
		t.Error(r.Status, err)
	}
	if r, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).
		Get(h.URL + "//evil.example/?token=s3cret"); err != nil || strings.HasPrefix(r.Header.Get("Location"), "//") {
		t.Errorf("sent to %q, %v", r.Header.Get("Location"), err)
	}
}

// Without a token a page elsewhere can neither ask for this host by a name of its own nor use what it finds.
func TestOtherPages(t *testing.T) {
	_, h := serve(t, newLane(), Options{})
	get := func(host, origin string) int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", h.URL+"/api/cameras", nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	own := strings.TrimPrefix(h.URL, "http://")
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{"", "", 200}, {"localhost:8080", "", 200}, {"192.0.2.1", "", 200}, {"[::1]:80", "", 200}, {"", "http://" + own, 200},
		{"evil.example", "", 421}, {"127.0.0.1.evil.example:80", "", 421}, {"", "http://evil.example", 403}, {"", "null", 403},
	} {
		if got := get(c.host, c.origin); got != c.want {
			t.Errorf("host %q, origin %q: %d, want %d", c.host, c.origin, got, c.want)
		}
	}
}

// The page's state comes at once, and again when it has changed.
func TestEvents(t *testing.T) {
	b := newLane()
	_, h := serve(t, b, Options{})
	r := do(t, "GET", h.URL+"/api/events", "", "", "")
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	next := func() (c Camera) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var s struct{ Cameras []Camera }
				if err := json.Unmarshal([]byte(data), &s); err != nil || len(s.Cameras) != 1 {
					t.Fatalf("%s: %v", data, err)
				}
				return s.Cameras[0]
			}
		}
		t.Fatal("the events ended")
		return c
	}
	if c := next(); c.Presence != "online" || c.Latency != nil {
		t.Errorf("%+v", c)
	}
	b.change(func(c *Camera) { c.Presence, c.Why = "offline", "said goodbye" })
	if c := next(); c.Presence != "offline" || c.Why != "said goodbye" {
		t.Errorf("%+v", c)
	}
}

// told tells of reads.
type told struct {
	io.ReadCloser
	reads chan bool
}

func (r told) Read(b []byte) (int, error) {
	r.reads <- true
	return r.ReadCloser.Read(b)
}

// A client that sends its offer slowly, or never to its end, does not keep the server from closing.
func TestCloseWaitsForNoSlowClient(t *testing.T) {
	s, err := New(newLane(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	reads := make(chan bool)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = told{r.Body, reads}
		s.ServeHTTP(w, r)
	}))
	defer h.Close()
	at := h.Listener.Addr().String()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /whep/door HTTP/1.1\r\nHost: %s\r\nContent-Type: application/sdp\r\nContent-Length: 100\r\n\r\nv=0", at)
	<-reads
	<-reads // for the rest
	closed := make(chan bool)
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("it waits for a slow client")
	}
}
