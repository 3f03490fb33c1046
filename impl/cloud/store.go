package cloud

import (
	"context"
	"errors"
)

// Store keeps objects by name. It is safe for concurrent use.
type Store interface {
	// Put stores body under a name; what was there before is replaced. The error is a *StoreError.
	Put(ctx context.Context, name, contentType string, body []byte) error
	// Get returns an object of at most limit bytes. An object that is not there is ErrNotFound.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
	// List returns the objects whose names begin with prefix, by name.
	List(ctx context.Context, prefix string) ([]Object, error)
}

// Object is one thing in a store.
type Object struct {
	Name string
	Size int64
}

// ErrNotFound says that a store has no object of that name.
var ErrNotFound = errors.New("no such object")

// Reason says why a store did not take an object.
type Reason int

// Reasons, the sentence that says what to do beside each in advice.
const (
	Unreachable Reason = iota + 1 // no answer: network, name, port
	Untrusted                     // the server's certificate is not trusted, or not now
	Credentials                   // the access key or its secret is wrong
	Forbidden                     // the credentials may not write here
	NoBucket                      // the bucket does not exist
	ClockSkew                     // this device's clock is off
	StoreFull                     // the store has no room
	Busy                          // the store asks to slow down, or failed
	Refused                       // any other refusal
)

// StoreError says why a store failed, and what to do about it.
type StoreError struct {
	Reason Reason
	Err    error
}

func (e *StoreError) Error() string { return e.Err.Error() }
func (e *StoreError) Unwrap() error { return e.Err }
