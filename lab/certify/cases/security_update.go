package cases

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// updates is SEC-12: the lab is the update server. It offers what must not be installed, one after the other, then the right image,
// and then an older one; each time the camera is told to look, loses its power, says what runs, and has to give a viewer frames.
//
//	update.json ──► right, older, unsigned, foreign ─┐
//	                right ─► changed, cut short ─────┴─► HTTP at the update server's name ──► camera ──► power ──► identity.json, frames
func updates(ctx context.Context, s *stage.Stage) certify.Result {
	if !slices.ContainsFunc(s.Decl().Servers, func(v certify.Server) bool { return v.Role == "update" }) {
		return s.Inconclusive("no name in the declaration's servers is that of an update server: there is no place to offer an image from")
	}
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	u := &updater{s: s, x: x, camera: camera, shop: &shop{}}
	right, older, bad, err := u.stock()
	if err != nil {
		return s.Judge(err)
	}
	if right == nil {
		return s.Inconclusive("the camera gives no image that is right (update.json): there is nothing to be offered")
	}
	if u.runs, err = u.firmware(); err != nil {
		return s.Judge(err)
	}
	if u.runs == "" {
		return s.Inconclusive("the camera does not say which image runs (firmware in identity.json): nobody can tell whether one was installed")
	}
	if u.runs == digestOf(right.image) {
		return s.Inconclusive("the image that is right (update.json) runs already: that it is installed could not be seen")
	}
	closed, err := u.open()
	if err != nil {
		return s.Judge(err)
	}
	defer closed()
	bad = slices.DeleteFunc(bad, func(o *offer) bool { return o == nil })
	bad[len(bad)-1].power, right.power = true, true
	all := append(bad, right)
	if older != nil {
		all = append(all, older)
	}
	for _, o := range all {
		if wrong, err := u.offer(ctx, *o); err != nil {
			return outcome(s, err)
		} else if wrong != "" {
			return s.Fail("%s", wrong)
		}
	}
	if len(u.lacks) > 0 {
		return s.Inconclusive("what was offered was refused; but of these the vendor gives no image: %s", strings.Join(u.lacks, ", "))
	}
	return s.Pass()
}

// updater offers images.
type updater struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	shop   *shop
	runs   string   // SHA-256 of the image
	lacks  []string // kinds that the vendor does not give
}

// offer is what the server has.
type offer struct {
	what    string // "an image with a byte changed at 17"
	install bool   // it has to be installed
	power   bool   // in brief too the power is cut, and a viewer watches, after it
	image   []byte
	files   map[string][]byte // by path, the image among them
}

// manifest is update.json.
type manifest map[string]struct {
	Image string            `json:"image"`
	Files map[string]string `json:"files"`
}

// Limits of what a camera gives.
const (
	longestManifest = 64 << 10
	longestImage    = 256 << 20
)

// stock reads what the vendor gives, and makes what is broken of it.
func (u *updater) stock() (right, older *offer, bad []*offer, err error) {
	b, err := u.camera.Result("update.json", longestManifest)
	if err != nil || b == nil {
		return nil, nil, nil, err
	}
	nonsense := func(format string, a ...any) error {
		return &stage.Fault{Role: certify.RoleCamera, Unit: 1, Device: "gave an update.json that is wrong: " + fmt.Sprintf(format, a...)}
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, nil, nil, nonsense("%v", err)
	}
	given := map[string]*offer{}
	for _, kind := range []string{"right", "older", "unsigned", "foreign"} {
		entry, has := m[kind]
		if !has {
			u.lacks = append(u.lacks, kind)
			continue
		}
		o := &offer{what: whats[kind], install: kind == "right", files: map[string][]byte{}}
		for path, name := range entry.Files {
			if o.files[path], err = u.camera.Result(name, longestImage); err != nil {
				return nil, nil, nil, err
			}
			if o.files[path] == nil {
				return nil, nil, nil, nonsense("%s: there is no file %q", kind, name)
			}
		}
		if o.image = o.files[entry.Image]; len(o.image) < 2 {
			return nil, nil, nil, nonsense("%s: among its files there is no image %q", kind, entry.Image)
		}
		given[kind] = o
	}
	if right = given["right"]; right == nil {
		return nil, nil, nil, nil
	}
	bad = append(u.broken(*right, m["right"].Image), given["unsigned"], given["foreign"], given["older"])
	for kind, o := range given {
		if kind != "right" && string(o.image) == string(right.image) && fmt.Sprint(o.files) == fmt.Sprint(right.files) {
			return nil, nil, nil, nonsense("%s is the same as right", kind)
		}
	}
	if o := given["older"]; o != nil {
		again := *o
		again.what = "an older image, once the right one was installed,"
		older = &again
	}
	return right, older, bad, nil
}

var whats = map[string]string{
	"right": "the right image", "older": "an older image", "unsigned": "an image without a signature", "foreign": "an image signed by another",
}

// broken are images with a byte changed, and cut short.
func (u *updater) broken(right offer, path string) (bad []*offer) {
	draw := rand.New(seeded(u.s.Seed(0)))
	with := func(what string, image []byte) {
		files := map[string][]byte{}
		for p, b := range right.files {
			files[p] = b
		}
		files[path] = image
		bad = append(bad, &offer{what: what, image: image, files: files})
	}
	n := len(right.image)
	places := []int{n - 1}
	if !u.s.Brief() {
		places = append(places, 0, draw.IntN(n), draw.IntN(n), draw.IntN(n))
	}
	for _, at := range places {
		image := slices.Clone(right.image)
		image[at] ^= byte(1 << draw.IntN(8))
		with(fmt.Sprintf("an image with a bit of byte %d of %d changed", at, n), image)
	}
	with(fmt.Sprintf("an image cut short after %d of %d bytes", n/2, n), right.image[:n/2])
	if !u.s.Brief() {
		with("an image without its last byte", right.image[:n-1])
	}
	return bad
}

// firmware is the SHA-256 of the image that runs, as the camera says it.
func (u *updater) firmware() (string, error) {
	id, err := u.camera.Identity()
	return strings.ToLower(id.Firmware), err
}

// offer has the camera look at what the server has now. wrong says what it should not have done.
func (u *updater) offer(ctx context.Context, o offer) (wrong string, err error) {
	u.shop.show(o)
	offered := digestOf(o.image)
	refused := u.camera.Action(ctx, certify.ActionUpdate)
	var fault *stage.Fault
	if refused != nil && !(errors.As(refused, &fault) && strings.HasPrefix(fault.Device, "could not ")) {
		return "", refused
	}
	asked := u.shop.asked()
	if len(asked) > 0 {
		u.s.Saw("offers", 1)
	}
	whole := o.power || !u.s.Brief()
	if whole {
		if err := u.camera.Action(ctx, certify.ActionPower); err != nil {
			return "", err
		}
	}
	now, err := u.firmware()
	if err != nil {
		return "", err
	}
	u.s.Note("%s was offered: the camera asked for %v, %s; %.12s… runs", o.what, asked, yielded(refused), now)
	u.s.Record(map[string]any{"offer": o.what, "sha256": offered, "asked for": asked, "refused": refused != nil, "ran": u.runs, "runs": now})
	switch {
	case !o.install && now == offered && now != u.runs:
		return fmt.Sprintf("%s was installed: %.12s… runs, and %.12s… ran before", o.what, now, u.runs), nil
	case !o.install && now != u.runs:
		return fmt.Sprintf("after %s was offered another firmware runs: %.12s…, and %.12s… before", o.what, now, u.runs), nil
	case o.install && now != offered:
		return fmt.Sprintf("%s was not installed: %.12s… runs, %.12s… was offered, of which it asked for %v; %s", o.what, now, offered, asked,
			yielded(refused)), nil
	case o.install:
		u.s.Saw("accepted", 1)
	}
	u.runs = now
	if !whole {
		return "", nil
	}
	v, _, err := reach(ctx, u.x, stage.Viewing{Camera: u.camera}, "after "+o.what, time.Now(), u.s.Decl().Bounds.Recovery)
	if err != nil {
		return "", err
	}
	return "", v.Stop()
}

// digestOf is the SHA-256 of an image, as cameras say it.
func digestOf(image []byte) string {
	sum := sha256.Sum256(image)
	return hex.EncodeToString(sum[:])
}

func yielded(refused error) string {
	if refused != nil {
		return "and refused: " + refused.Error()
	}
	return "and did not say no"
}

// shop is the update server. It is safe for concurrent use.
type shop struct {
	mu   sync.Mutex
	has  map[string][]byte
	gave []string // paths that were asked for since the offer
}

func (h *shop) show(o offer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.has, h.gave = o.files, nil
}

func (h *shop) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.gave)
}

func (h *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	if len(h.gave) < 100 {
		h.gave = append(h.gave, r.URL.Path)
	}
	b, ok := h.has[r.URL.Path]
	h.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b)
}

// open opens the server where the camera looks for it: the rendezvous' host has its name.
func (u *updater) open() (closed func(), err error) {
	l, err := u.x.Host("rendezvous").ListenTCP(netip.AddrPortFrom(netip.Addr{}, 80))
	if err != nil {
		return nil, fmt.Errorf("be the update server: %w", err)
	}
	server := &http.Server{Handler: u.shop, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	return func() { _ = server.Close(); <-done }, nil
}
