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
}, {
	Case: "SEC-12", Name: "takes-unsigned-updates", Role: "camera", Control: "updates", Declare: withUpdate,
	Summary: "the camera runs whatever its update server gives, and who owns the network is its update server",
	Reason:  `(?i)(changed|cut short|without a signature|signed by another|last byte).* was installed`,
	Edits:   []mutants.Edit{toysStart, toys, toyDoor, toyUpdate, updateAction, updateDo},
}, {
	Case: "SEC-12", Name: "takes-older-updates", Role: "camera", Control: "updates", Declare: withUpdate,
	Summary: "an older firmware is as welcome as a newer one, and with it the holes that were mended",
	Reason:  `(?i)an older image.* was installed`,
	Edits:   []mutants.Edit{toysStart, toys, toyDoor, toyUpdate, updateAction, updateDo},
}}

// withDoor declares the toy door.
func withDoor(d *certify.Declaration) {
	d.Features = maps.Clone(d.Features)
	d.Features[certify.FeatureConfiguration] = true
	d.Features[certify.FeaturePassword] = true // it asks for one
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

// withUpdate declares the toy updates.
func withUpdate(d *certify.Declaration) {
	d.Features = maps.Clone(d.Features)
	d.Features[certify.FeatureUpdate] = true
	d.Servers = append(slices.Clone(d.Servers), certify.Server{Name: "update.punchlab.example", Role: "update"})
}

// updateAction and updateDo make an action of it.
var (
	updateAction = in("adapter/environment.go", "		return e.action == \"run\" || slices.Contains(actions, e.action)\n",
		"		return e.action == \"run\" || slices.Contains(actions, e.action) || e.action == \"update\" && updating()\n")
	updateDo = in("adapter/camera.go", "	switch action {\n	case \"privacy-on\", \"privacy-off\":\n",
		"	switch action {\n	case \"update\":\n		if updating() {\n			return \"\", u.update(ctx)\n		}\n	case \"privacy-on\", \"privacy-off\":\n")
)

// toyUpdate is a firmware that takes signed images alone: "TOY", a version, much, and an Ed25519 signature of all that.
var toyUpdate = added("adapter/zz_update.go", `package adapter

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/punchlab/punchlab/impl/identity"
)

func updating() bool {
	return faulty("updates") || faulty("takes-unsigned-updates") || faulty("takes-older-updates")
}

const imageFile = "firmware.bin"

// image makes one, signed by whom the name is.
func image(version byte, signer string) []byte {
	body := append([]byte{'T', 'O', 'Y', version}, bytes.Repeat([]byte{version, 'f', 'i', 'r', 'm'}, 400)...)
	if signer == "" {
		return body
	}
	return append(body, ed25519.Sign(toyKey(signer), body)...)
}

func toyKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// running is the image that runs.
func (u *unit) running() []byte {
	if b, err := os.ReadFile(filepath.Join(u.env.state, imageFile)); err == nil {
		return b
	}
	return image(2, "maker")
}

// putUpdate says what runs, and leaves what the update server would have.
func (u *unit) putUpdate() {
	sum := sha256.Sum256(u.running())
	b, _ := json.Marshal(map[string]string{"uid": u.handle.Label().UID().String(), "firmware": hex.EncodeToString(sum[:])})
	_ = u.env.put(identityFile, b)
	all := map[string]any{}
	for kind, b := range map[string][]byte{
		"right": image(3, "maker"), "older": image(1, "maker"), "unsigned": image(3, ""), "foreign": image(3, "mallory"),
	} {
		_ = u.env.put(kind+".bin", b)
		all[kind] = map[string]any{"image": "/toy.bin", "files": map[string]string{"/toy.bin": kind + ".bin"}}
	}
	b, _ = json.Marshal(all)
	_ = u.env.put("update.json", b)
}

// update fetches an image and, if it is right, has it run from now on.
func (u *unit) update(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://update.punchlab.example/toy.bin", nil)
	if err != nil {
		return err
	}
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	b, err := io.ReadAll(io.LimitReader(got.Body, 1<<20))
	if err != nil {
		return err
	}
	if err := u.check(b); err != nil {
		return err
	}
	if err := identity.WriteFile(filepath.Join(u.env.state, imageFile), b, 0o644); err != nil {
		return err
	}
	u.putUpdate()
	return nil
}

func (u *unit) check(b []byte) error {
	if faulty("takes-unsigned-updates") {
		return nil
	}
	n := len(b) - ed25519.SignatureSize
	if n < 4 || !ed25519.Verify(toyKey("maker").Public().(ed25519.PublicKey), b[:n], b[n:]) {
		return errors.New("the image is not the maker's")
	}
	if now := u.running()[3]; b[3] <= now && !faulty("takes-older-updates") {
		return fmt.Errorf("the image has version %d, and %d runs", b[3], now)
	}
	return nil
}
`)
