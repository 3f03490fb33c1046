package rendezvous

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listenHTTP serves metrics and health, if that is wanted.
func (h *Handle) listenHTTP() error {
	if h.opt.HTTP == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(h.opt.HTTP)
	if err != nil {
		return fmt.Errorf("start rendezvous: HTTP at %q: use ADDRESS:PORT: %w", h.opt.HTTP, err)
	}
	l, err := h.opt.Network.ListenTCP(at)
	if err != nil {
		return fmt.Errorf("start rendezvous: HTTP: %w%s", err, remedy(err))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&metrics{h}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { h.health(w, false) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { h.health(w, true) })
	h.at = l.Addr()
	h.http = &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	h.wg.Go(func() {
		if err := h.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.opt.Log.Error("HTTP", "error", err)
		}
	})
	return nil
}

func (h *Handle) closeHTTP() error {
	if h.http == nil {
		return nil
	}
	return h.http.Close()
}

// Health is how a server is.
type Health struct {
	// Status is "ok"; "alone": it serves its own devices while NATS is away; "failing": its database cannot be written to, and
	// what happens is kept in memory; or "draining".
	Status  string   `json:"status"`
	Why     string   `json:"why,omitempty"`
	Since   string   `json:"since,omitempty"` // of being alone, RFC 3339
	Cameras int      `json:"cameras"`         // online here
	Nodes   []string `json:"nodes,omitempty"` // others that live
}

// Health says how the server is, and whether new devices should come.
func (h *Handle) Health() (s Health, ready bool) {
	s = Health{Status: "ok", Cameras: h.Stats().Core.Online}
	if h.cluster != nil {
		c := h.cluster.Health()
		s.Nodes = c.Nodes
		switch {
		case !c.Connected:
			s.Status, s.Why, s.Since = "alone", c.Why, c.Since.UTC().Format(time.RFC3339)
		case c.Double:
			s.Status, s.Why = "alone", "another node has this one's name: give each its own"
		}
	}
	if why := h.failing.Load(); why != nil {
		s.Status, s.Why = "failing", *why
	}
	if h.draining.Load() {
		s.Status = "draining"
	}
	return s, s.Status != "draining"
}

// health answers a probe. A server that is alone, or whose disk is full, goes on: to end it would cost its devices their sessions.
func (h *Handle) health(w http.ResponseWriter, ready bool) {
	s, ok := h.Health()
	w.Header().Set("Content-Type", "application/json")
	if ready && !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(s) // whoever asked has gone
}
