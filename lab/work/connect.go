package work

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Times of the connection to NATS.
const (
	requestTimeout = 5 * time.Second        // of one request
	retryWait      = 200 * time.Millisecond // between tries of what must be done
	reconnectWait  = 500 * time.Millisecond
)

// client is a connection to NATS.
type client struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger
}

// connect connects. patient waits for a server that is not there yet, and for as long as it is away later on; otherwise its
// absence at the beginning is an error.
func (c Connection) connect(name string, patient bool, log *slog.Logger) (*client, error) {
	o := []nats.Option{
		nats.Name("punchlab " + name), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.Timeout(requestTimeout),
		nats.RetryOnFailedConnect(patient),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("lost the NATS server; trying again until it is back", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("have the NATS server again", "server", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Debug("nats", "error", err) }),
	}
	if outside != nil {
		o = append(o, nats.SetCustomDialer(outside), nats.SkipHostLookup())
	}
	if c.Credentials != "" {
		o = append(o, nats.UserCredentials(c.Credentials))
	}
	if c.CA != "" {
		o = append(o, nats.RootCAs(c.CA))
	}
	switch {
	case c.Cert != "" && c.Key != "":
		o = append(o, nats.ClientCert(c.Cert, c.Key))
	case c.Cert != "" || c.Key != "":
		return nil, errors.New("connect to NATS: a client's certificate and its key come together: give both files")
	}
	nc, err := nats.Connect(c.URL, append(o, c.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w: is the server there, and are user, password and certificates right?", redacted(c.URL), err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return &client{nc, js, log}, nil
}

// gone says why a connection was given up for good: the server turned the client away.
func (c *client) gone() error {
	if !c.nc.IsClosed() {
		return nil
	}
	err := c.nc.LastError()
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	return fmt.Errorf("the NATS server turned this client away: %w: see its user, password, credentials or certificate", err)
}

// isCode reports whether an error is JetStream's of one of these codes.
func isCode(err error, codes ...jetstream.ErrorCode) bool {
	var e *jetstream.APIError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.ErrorCode == c {
			return true
		}
	}
	return false
}

// storeFailed is the server's code of a message that a stream's limits keep out.
const storeFailed jetstream.ErrorCode = 10077

func wrongLast(err error) bool {
	return isCode(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
