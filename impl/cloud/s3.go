package cloud

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/punchlab/punchlab/impl/identity"
)

// S3 is where an S3-compatible store is and how to log in.
type S3 struct {
	Endpoint string // HOST or HOST:PORT
	Insecure bool   // http: who is on the way can see names and sizes, and drop or replace objects
	Region   string // empty: us-east-1
	Bucket   string
	Prefix   string // of all names, without a slash at its ends; may be empty

	AccessKey, SecretKey string

	CA   *x509.CertPool                                                       // who signs the server's certificate; nil: the system's
	Dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: from this host

	patience time.Duration // for the store's word on a large body before it is sent; 0: askWait
}

const (
	defaultRegion = "us-east-1"
	askWait       = 2 * time.Second
)

// ParseURL reads where a store is: https://HOST[:PORT]/BUCKET[/PREFIX].
func ParseURL(s string) (S3, error) {
	u, err := url.Parse(s)
	if err != nil {
		return S3{}, errors.New("parse the store's URL: want https://HOST[:PORT]/BUCKET[/PREFIX]") // it may hold a secret: not shown
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	switch {
	case u.User != nil:
		return S3{}, errors.New("parse the store's URL: it holds credentials, which others can see in the list of processes: give them in a file")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", bucket == "", u.RawQuery != "", u.Fragment != "":
		return S3{}, fmt.Errorf("parse the store's URL: %q is not one: want https://HOST[:PORT]/BUCKET[/PREFIX]", s)
	}
	return S3{Endpoint: u.Host, Insecure: u.Scheme == "http", Bucket: bucket, Prefix: strings.Trim(prefix, "/")}, nil
}

// LoadCredentials reads "ACCESS-KEY:SECRET-KEY" from a file that nobody else may read.
func LoadCredentials(path string) (access, secret string, err error) {
	b, err := identity.ReadSecret(path)
	if err != nil {
		return "", "", fmt.Errorf("load the store's credentials: %w", err)
	}
	access, secret, ok := strings.Cut(strings.TrimSpace(string(b)), ":")
	if !ok || access == "" || secret == "" || strings.ContainsAny(access+secret, " \t\r\n") {
		return "", "", fmt.Errorf("load the store's credentials: %s: want one line, ACCESS-KEY:SECRET-KEY", path)
	}
	return access, secret, nil
}

// LoadCA reads certificates in PEM: who else may sign a store's certificate than those that the system trusts.
func LoadCA(path string) (*x509.CertPool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load the store's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("load the store's CA: %s holds no certificate in PEM", path)
	}
	return pool, nil
}

// bucket is an S3 store, opened.
type bucket struct {
	S3
	client *minio.Client
	skew   atomic.Int64 // this device's clock less the store's, by its last answer; nanoseconds
}

// Open returns the store. It does not call it yet.
func (s S3) Open() (Store, error) {
	b := &bucket{S3: s}
	switch {
	case s.Endpoint == "" || s.Bucket == "":
		return nil, errors.New("open the store: give its host and a bucket")
	case s.AccessKey == "" || s.SecretKey == "":
		return nil, errors.New("open the store: give an access key and its secret")
	}
	if err := s3utils.CheckValidBucketName(s.Bucket); err != nil {
		return nil, fmt.Errorf("open the store: bucket %q: %w", s.Bucket, err)
	}
	if b.Region == "" {
		b.Region = defaultRegion
	}
	c, err := minio.New(s.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: !s.Insecure, Region: b.Region,
		Transport: &dated{next: s.transport(), skew: &b.skew},
		// Twice: a connection that was kept open may be dead. After that the recorder waits as it sees fit.
		MaxRetries: 2,
	})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	b.client = c
	return b, nil
}

func (s S3) transport() *http.Transport {
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSHandshakeTimeout: 15 * time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: s.CA, MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout: time.Minute, ExpectContinueTimeout: cmp.Or(s.patience, askWait),
		IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 2, DisableCompression: true,
	}
}

// dated learns how far the clocks are apart, and asks before a large body is sent (RFC 9110 §10.1.1): what is refused costs no
// upstream, and the refusal is not lost in a connection that the store resets.
type dated struct {
	next http.RoundTripper
	skew *atomic.Int64
}

const askFrom = 64 << 10 // bytes

func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ContentLength >= askFrom {
		r = r.Clone(r.Context())
		r.Header.Set("Expect", "100-continue")
	}
	res, err := d.next.RoundTrip(r)
	if err == nil {
		if at, e := http.ParseTime(res.Header.Get("Date")); e == nil {
			d.skew.Store(int64(time.Since(at)))
		}
	}
	return res, err
}

func (b *bucket) name(n string) string {
	if b.Prefix == "" {
		return n
	}
	return b.Prefix + "/" + n
}

func (b *bucket) Put(ctx context.Context, name, contentType string, body []byte) error {
	_, err := b.client.PutObject(ctx, b.Bucket, b.name(name), bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{
		ContentType: contentType, SendContentMd5: true, DisableMultipart: true,
	})
	return b.explain("put", name, err)
}

func (b *bucket) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	o, err := b.client.GetObject(ctx, b.Bucket, b.name(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.explain("get", name, err)
	}
	defer o.Close()
	body, err := io.ReadAll(io.LimitReader(o, limit+1))
	if err != nil {
		return nil, b.explain("get", name, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("get %s: it is larger than %d bytes: it is no object of ours", name, limit)
	}
	return body, nil
}

func (b *bucket) List(ctx context.Context, prefix string) (objects []Object, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range b.client.ListObjects(ctx, b.Bucket, minio.ListObjectsOptions{Prefix: b.name(prefix), Recursive: true}) {
		if o.Err != nil {
			return nil, b.explain("list", prefix, o.Err)
		}
		if name, ok := strings.CutPrefix(o.Key, b.name(prefix)); ok { // what the store names beside that is not believed
			objects = append(objects, Object{Name: prefix + name, Size: o.Size})
		}
	}
	return objects, nil
}
