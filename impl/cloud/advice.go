package cloud

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
)

var advice = map[Reason]string{
	Unreachable: "the store does not answer: check its address and the network",
	Untrusted:   "the store's certificate is not trusted: give the CA that signed it, or have it renewed",
	Credentials: "the store does not know these credentials: check access key and secret",
	Forbidden:   "the store does not let these credentials do that: grant them to put objects there",
	NoBucket:    "the store has no such bucket: make it, or name another one",
	ClockSkew:   "this device's clock is wrong: set it (NTP)",
	StoreFull:   "the store is full: make room there",
	Busy:        "the store is busy or broken: it is tried again",
	Refused:     "the store refuses it",
}

func (r Reason) String() string {
	names := [...]string{"", "unreachable", "untrusted", "credentials", "forbidden", "no-bucket", "clock-skew", "store-full", "busy", "refused"}
	if r < 1 || int(r) >= len(names) {
		return fmt.Sprintf("Reason(%d)", int(r))
	}
	return names[r]
}

// maxSkew is how far a request's date may be from the store's clock (AWS: 15 minutes).
const maxSkew = 15 * time.Minute

// explain says of a call's error what it means and what to do. It names no secret.
func (b *bucket) explain(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	res := minio.ToErrorResponse(err)
	if res.Code == "NoSuchKey" {
		return fmt.Errorf("%s %s: %w", verb, name, ErrNotFound)
	}
	skew := time.Duration(b.skew.Load()).Round(time.Second)
	reason := classify(err, res, skew)
	text := advice[reason]
	if reason == ClockSkew && skew.Abs() > time.Minute {
		text += fmt.Sprintf(": it is %v from the store's", skew)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the URL, which says nothing new
	}
	return &StoreError{Reason: reason, Err: fmt.Errorf("%s %s at %s: %w: %s", verb, short(path.Join(b.Bucket, b.name(name))), b.Endpoint, err, text)}
}

// short cuts a name: a segment's ends in its HMAC.
func short(name string) string {
	const most = 110
	if len(name) <= most {
		return name
	}
	return name[:most] + "…"
}

// classify tells a reason from an S3 error code, an HTTP status or a failed connection.
func classify(err error, res minio.ErrorResponse, skew time.Duration) Reason {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return ClockSkew
	case errors.As(err, &invalid), errors.As(err, &unknown), errors.As(err, &host):
		return Untrusted
	}
	switch res.Code {
	case "RequestTimeTooSkewed", "RequestExpired":
		return ClockSkew
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "XAdminUserNotFound": // versitygw's, of one user
		return Credentials
	case "NoSuchBucket":
		return NoBucket
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "EntityTooLarge", "InsufficientStorage":
		return StoreFull
	case "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout":
		return Busy
	}
	switch s := res.StatusCode; {
	case s == http.StatusForbidden && skew.Abs() > maxSkew:
		return ClockSkew
	case s == http.StatusForbidden || s == http.StatusUnauthorized || res.Code == "AccessDenied":
		return Forbidden
	case s == http.StatusInsufficientStorage, errors.Is(err, syscall.ENOSPC):
		return StoreFull
	case s >= http.StatusInternalServerError, s == http.StatusTooManyRequests:
		return Busy
	case s >= http.StatusBadRequest:
		return Refused
	}
	return Unreachable
}
