package faults

import (
	"maps"
	"slices"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// securityToys are the faults of cases about what the bundled camera has not: a door by which its owner configures it, and updates.
// Small ones are put in, right under the control's name.
var securityToys = []Fault{{
	Case: "SEC-8", Name: "opens-to-a-magic-word", Role: "camera", Control: "has-a-door", Declare: withDoor,
	Summary: "a word in the address opens every camera's settings, and nobody's password matters (CVE-2017-7921)",
	Reason:  `(?i)changed by \?auth|given out by \?auth`,
	Edits:   []mutants.Edit{toysStart, toys, toyDoor, toyUpdate},
}, {
	Case: "SEC-8", Name: "changes-before-it-asks", Role: "camera", Control: "has-a-door", Declare: withDoor,
	Summary: "the door says no to a stranger, and has done by then what he asked for",
	Reason:  `(?i)the setting was changed .* answered with 401`,
	Edits:   []mutants.Edit{toysStart, toys, toyDoor, toyUpdate},
}}

// withDoor declares the toy door.
func withDoor(d *certify.Declaration) {
	d.Features = maps.Clone(d.Features)
	d.Features[certify.FeatureConfiguration] = true
	d.Bounds.Ports = append(slices.Clone(d.Bounds.Ports), certify.Port{Protocol: "tcp", Number: 8080})
}

// toysStart has the toys begin with the camera.
var toysStart = in("adapter/camera.go", "	u.handle = h\n	if err := e.putCamera", "	u.handle = h\n	defer u.toys(ctx)\n	if err := e.putCamera")

// toys begins those that are asked for.
var toys = added("adapter/zz_toys.go", `package adapter

import "context"

// toys begins what the bundled camera does not have, if its name is asked for.
func (u *unit) toys(ctx context.Context) {
	switch {
	case faulty("has-a-door") || faulty("opens-to-a-magic-word") || faulty("changes-before-it-asks"):
		u.openDoor(ctx)
	case faulty("updates") || faulty("takes-unsigned-updates") || faulty("takes-older-updates"):
		u.putUpdate()
	}
}
`)

// toyDoor is a setting that can be read and changed by HTTP, by who has the password: Basic authentication, a password for each unit.
var toyDoor = added("adapter/zz_door.go", `package adapter

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// openDoor serves the setting at port 8080, and says in configuration.json how.
func (u *unit) openDoor(ctx context.Context) {
	const user = "owner"
	password := rand.Text()
	var mu sync.Mutex
	name := "camera"
	change := func(r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		mu.Lock()
		defer mu.Unlock()
		name = string(b)
	}
	door := func(w http.ResponseWriter, r *http.Request) {
		_, p, _ := r.BasicAuth()
		ok := subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 1 && strings.HasPrefix(r.Header.Get("Authorization"), "Basic ")
		if who, _, _ := r.BasicAuth(); who != user {
			ok = false
		}
		if faulty("opens-to-a-magic-word") && r.URL.Query().Get("auth") == "YWRtaW46MTEK" {
			ok = true
		}
		if r.Method == http.MethodPut && (ok || faulty("changes-before-it-asks")) {
			change(r)
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", "Basic realm=\"camera\"")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.WriteString(w, name)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/name", door)
	s := &http.Server{Addr: ":8080", Handler: mux}
	go s.ListenAndServe()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	url := "http://" + u.env.addrs[0].String() + ":8080/name"
	way := map[string]any{
		"name": "web", "user": user, "password": password,
		"read": map[string]string{"method": "GET", "url": url}, "change": map[string]string{"method": "PUT", "url": url, "body": "{value}"},
	}
	b, _ := json.Marshal(map[string]any{"ways": []any{way}})
	_ = u.env.put("configuration.json", b)
}
`)

// toyUpdate is a firmware that takes signed images alone.
var toyUpdate = added("adapter/zz_update.go", `package adapter

func (u *unit) putUpdate() {}
`)
