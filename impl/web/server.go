package web

import (
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Options describe a Server. Zero values mean what is said at each.
type Options struct {
	Token    string       // whoever has it may look; "": everybody who can connect
	Sessions int          // WHEP sessions at a time; 0: 32
	Log      *slog.Logger // nil: none
}

// Server is an http.Handler: the page, its data, and WHEP. Close it.
type Server struct {
	backend Backend
	opt     Options
	api     *webrtc.API
	mux     http.ServeMux
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	mu       sync.Mutex
	sessions map[string]*session
	opening  int // sessions that are being made
	closed   bool
	running  sync.WaitGroup
}

//go:embed assets
var assets embed.FS

// New returns a server of a backend's cameras.
func New(b Backend, opt Options) (*Server, error) {
	if opt.Sessions == 0 {
		opt.Sessions = 32
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	api, err := newAPI()
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		return nil, err
	}
	s := &Server{backend: b, opt: opt, api: api, sessions: map[string]*session{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mux.Handle("GET /", http.FileServerFS(files))
	s.mux.HandleFunc("GET /api/cameras", s.cameras)
	s.mux.HandleFunc("GET /api/events", s.events)
	s.mux.HandleFunc("OPTIONS /whep/{camera}", s.options)
	s.mux.HandleFunc("POST /whep/{camera}", s.offer)
	s.mux.HandleFunc("DELETE /whep/{camera}/{session}", s.end)
	s.mux.HandleFunc("PATCH /whep/{camera}/{session}", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusMethodNotAllowed, "the answer has all candidates: neither trickle ICE nor ICE restarts are supported; begin a new session")
	})
	return s, nil
}

// Close ends all sessions and requests.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// enter admits work until Close.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// ServeHTTP is http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		problem(w, http.StatusServiceUnavailable, "shutting down")
		return
	}
	defer s.running.Done()
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if s.opt.Token != "" { // who has it may come from any page: cookies do not travel between sites
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Expose-Headers", "Location")
	}
	if s.opt.Token != "" && r.Method != http.MethodOptions {
		if r.Method == http.MethodGet && same(r.URL.Query().Get("token"), s.opt.Token) {
			s.welcome(w, r)
			return
		}
		if !s.knows(r) {
			h.Set("WWW-Authenticate", `Bearer realm="punchlab"`)
			problem(w, http.StatusUnauthorized, "who may look is decided by a token: open the address that the viewer printed, or send it as a bearer token")
			return
		}
	} else if s.opt.Token == "" && !local(r.Host) {
		problem(w, http.StatusMisdirectedRequest, "ask for this host by its IP address or as localhost")
		return
	}
	if s.opt.Token == "" && foreign(r) {
		problem(w, http.StatusForbidden, "this page may not be used by others")
		return
	}
	s.mux.ServeHTTP(w, r)
}

const cookie = "punchlab_token"

// welcome turns the token of an address into a cookie, so that it does not stay in the address.
func (s *Server) welcome(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: s.opt.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 30 * 86400})
	q := r.URL.Query()
	q.Del("token")
	u := *r.URL
	u.RawQuery, u.Scheme, u.Host = q.Encode(), "", ""
	u.Path = "/" + strings.TrimLeft(u.Path, "/\\")
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

func (s *Server) knows(r *http.Request) bool {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") && same(token, s.opt.Token) {
		return true
	}
	c, err := r.Cookie(cookie)
	return err == nil && same(c.Value, s.opt.Token)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// local says whether a request names its host in a way that no DNS server of somebody else's can.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// foreign says whether a page of another origin sends a request.
func foreign(r *http.Request) bool {
	o := r.Header.Get("Origin")
	if o == "" {
		return false
	}
	_, host, _ := strings.Cut(o, "://")
	return host != r.Host
}

func problem(w http.ResponseWriter, code int, what string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(what + "\n"))
}

// snapshot is the page's data.
func (s *Server) snapshot() ([]byte, error) {
	list := s.backend.Cameras()
	if list == nil {
		list = []Camera{}
	}
	return json.Marshal(map[string]any{"cameras": list})
}

func (s *Server) cameras(w http.ResponseWriter, _ *http.Request) {
	b, err := s.snapshot()
	if err != nil {
		problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}

// statesEvery is the least time between two states of one page.
const statesEvery = 200 * time.Millisecond

// events sends the state now and whenever it changes (server-sent events).
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	changed, cancel := s.backend.Changed()
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for {
		b, err := s.snapshot()
		if err != nil {
			return
		}
		_ = out.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := w.Write([]byte("data: " + string(b) + "\n\n")); err != nil {
			return
		}
		if err := out.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		pause := time.NewTimer(statesEvery)
		select {
		case <-pause.C:
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}
