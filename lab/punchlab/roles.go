package main

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/punchlab/punchlab/impl/identity"
)

// Where our rendezvous listens unless told otherwise: UDP and TCP, and TLS.
const rendezvousPort, rendezvousTLS = 4479, 443

// keyFile returns where a role keeps its key unless told otherwise.
func keyFile(role string) string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return role + ".key"
	}
	return filepath.Join(dir, "punchlab", role+".key")
}

// loadKey loads a role's key, and makes one where there is none.
func loadKey(path string) (identity.Key, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return identity.Key{}, labError(err)
	}
	k, err := identity.LoadOrNewKey(path, func() (identity.Key, error) { return identity.NewKey(rand.Reader) })
	if err != nil {
		return k, usage(err)
	}
	return k, nil
}

// logger writes structured lines to stderr, for people or as JSON.
func logger(asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// offer gives a value to who waits for the first one.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

func resolveAll(hosts []string) (addrs []netip.AddrPort, err error) {
	for _, h := range hosts {
		a, err := resolve(h, rendezvousPort)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// writeJSON prints one value a line.
func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
