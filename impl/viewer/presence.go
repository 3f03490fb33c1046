package viewer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// MaxWatch is of how many cameras the presence is followed.
const MaxWatch = 256

// Watch has the rendezvous tell how these cameras are, as Presence, and of no others from now on: at once and whenever it
// changes, also after each login.
func (v *Viewer) Watch(now time.Time, cameras []identity.UID) error {
	v.box.Begin()
	switch {
	case v.closed:
		return errors.New("watch: the viewer is closed")
	case len(cameras) > MaxWatch:
		return fmt.Errorf("watch: %d cameras, at most %d are followed", len(cameras), MaxWatch)
	}
	var gone, came []identity.UID
	for _, u := range v.followed {
		if !slices.Contains(cameras, u) {
			gone = append(gone, u)
		}
	}
	for _, u := range cameras {
		if !u.Valid() {
			return fmt.Errorf("watch: %v is no camera's UID", u)
		}
		if !slices.Contains(v.followed, u) && !slices.Contains(came, u) {
			came = append(came, u)
		}
	}
	v.followed = slices.Concat(slices.DeleteFunc(v.followed, func(u identity.UID) bool { return slices.Contains(gone, u) }), came)
	v.link.Watch(now, came...)
	v.link.Unwatch(now, gone...)
	return nil
}

// presence tells how cameras are.
func (v *Viewer) presence(now time.Time, all []wire.Status) {
	for _, s := range all {
		p := Presence{Camera: s.UID, At: now, State: s.State}
		if s.State != wire.StateUnavailable {
			p.Since = now.Add(-time.Duration(s.Age) * time.Second)
		}
		v.box.Emit(p)
	}
}

// refusedLogin notes why the rendezvous does not let this viewer in.
func (v *Viewer) refusedLogin(now time.Time, code wire.Code, retry time.Duration) {
	v.denied = code
	v.box.Emit(Denied{At: now, Code: code, Retry: retry})
}

// hopeless says whether another server of the rendezvous would refuse for this reason too, and waiting does not help.
func hopeless(c wire.Code) bool {
	switch c {
	case 0, wire.CodeShuttingDown, wire.CodeOverloaded, wire.CodeBusy, wire.CodeRateLimited, wire.CodeInternal:
		return false
	}
	return true
}
