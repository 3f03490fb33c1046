package faults

import (
	"maps"
	"slices"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// identityToys are the faults of a camera that asks for a password. The bundled one has none: a small one is put in, right under the
// control's name.
var identityToys = []Fault{{
	Case: "ID-3", Name: "opens-to-888888", Role: "camera", Control: "asks-for-a-password", Declare: withPassword,
	Summary: "beside the password on its label each camera takes the maker's, 888888 (as Mirai knew, CVE-2016-1000245)",
	Reason:  `(?i)888888`,
	Edits:   []mutants.Edit{passwordStart, passwordDoor},
}, {
	Case: "ID-3", Name: "shows-pictures-to-all", Role: "camera", Control: "asks-for-a-password", Declare: withPassword,
	Summary: "its settings need the password, its pictures do not",
	Reason:  `(?i)media was given out without a password`,
	Edits:   []mutants.Edit{passwordStart, passwordDoor},
}, {
	Case: "ID-3", Name: "keeps-its-first-password", Role: "camera", Control: "asks-for-a-password", Declare: withPassword,
	Summary: "whoever sets a password has two: the one on the label works for ever",
	Reason:  `(?i)the password that was there before`,
	Edits:   []mutants.Edit{passwordStart, passwordDoor},
}}

// withPassword declares the toy.
func withPassword(d *certify.Declaration) {
	d.Features = maps.Clone(d.Features)
	d.Features[certify.FeaturePassword] = true
	d.Bounds.Ports = append(slices.Clone(d.Bounds.Ports), certify.Port{Protocol: "tcp", Number: 8088})
}

// passwordStart has the toy begin with the camera.
var passwordStart = in("adapter/camera.go", "	return up, nil\n}\n", "	u.askPassword(ctx)\n	return up, nil\n}\n")

// passwordDoor is a setting and a picture by HTTP, for who has the password: Digest authentication, a password for each unit, on its label
// until its owner sets another.
var passwordDoor = added("adapter/zz_password.go", `package adapter

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/punchlab/punchlab/impl/identity"
)

func passwordAsked() bool {
	return faulty("asks-for-a-password") || faulty("opens-to-888888") || faulty("shows-pictures-to-all") || faulty("keeps-its-first-password")
}

// passwordUnit is what the unit keeps.
type passwordUnit struct {
	mu       sync.Mutex
	label    string // its password as delivered
	password string
	nonce    string
	name     string
}

const passwordUser = "owner"

var digestField = regexp.MustCompile("(\\w+)=\"?([^\",]*)")

// admits checks a Digest authorization (RFC 7616, without qop). The caller holds mu.
func (p *passwordUnit) admits(r *http.Request) bool {
	f := map[string]string{}
	for _, m := range digestField.FindAllStringSubmatch(r.Header.Get("Authorization"), -1) {
		f[m[1]] = m[2]
	}
	sum := func(s string) string {
		h := md5.Sum([]byte(s))
		return hex.EncodeToString(h[:])
	}
	right := []string{p.password}
	if faulty("opens-to-888888") {
		right = append(right, "888888")
	}
	if faulty("keeps-its-first-password") {
		right = append(right, p.label)
	}
	return f["username"] == passwordUser && f["nonce"] == p.nonce && f["uri"] == r.RequestURI && slices.ContainsFunc(right, func(word string) bool {
		return f["response"] == sum(sum(passwordUser+":camera:"+word)+":"+p.nonce+":"+sum(r.Method+":"+r.RequestURI))
	})
}

func (p *passwordUnit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.admits(r) && !(r.URL.Path == "/picture" && faulty("shows-pictures-to-all")) {
		w.Header().Set("WWW-Authenticate", "Digest realm=\"camera\", nonce=\""+p.nonce+"\", algorithm=MD5")
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /name":
		_, _ = io.WriteString(w, p.name)
	case "PUT /name":
		p.name = string(body)
	case "PUT /password":
		p.password = string(body)
	case "GET /picture":
		w.Header().Set("Content-Type", "video/h264")
		_, _ = w.Write(make([]byte, 4000))
	default:
		http.NotFound(w, r)
	}
}

// askPassword serves at port 8088, and says in configuration.json how.
func (u *unit) askPassword(ctx context.Context) {
	if !passwordAsked() {
		return
	}
	file := filepath.Join(u.env.state, "label-password")
	label, err := os.ReadFile(file)
	if err != nil {
		label = []byte(rand.Text())
		_ = identity.WriteFile(file, label, 0o600)
	}
	p := &passwordUnit{label: string(label), password: string(label), nonce: rand.Text(), name: "camera"}
	s := &http.Server{Addr: ":8088", Handler: p}
	go s.ListenAndServe()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	at := "http://" + u.env.addrs[0].String() + ":8088"
	request := func(method, path, body string) map[string]string {
		return map[string]string{"method": method, "url": at + path, "body": body}
	}
	b, _ := json.Marshal(map[string]any{"ways": []any{map[string]any{
		"name": "web", "user": passwordUser, "password": string(label), "read": request("GET", "/name", ""), "change": request("PUT", "/name", "{value}"),
		"media": request("GET", "/picture", ""), "setup": request("PUT", "/password", "{value}"),
	}}})
	_ = u.env.put("configuration.json", b)
}
`)
