package camera

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
)

// SetPrivacy switches the mode in which the camera gives no media, to viewers and to the recorder alike. With a folder it outlives the
// program. It is written down before it is switched off, and after it is switched on: whatever happens in between, nobody is shown.
func (h *Handle) SetPrivacy(on bool) error {
	h.privacy.Lock()
	defer h.privacy.Unlock()
	if on {
		h.apply(on)
	}
	if err := h.state.savePrivacy(on); err != nil {
		return err
	}
	h.apply(on)
	return nil
}

func (h *Handle) apply(on bool) {
	h.private.Store(on)
	h.do(func(now time.Time, core *camera.Camera) { core.HandlePrivacy(now, on) })
}

// Private says whether the camera gives no media.
func (h *Handle) Private() bool { return h.private.Load() }

func (s *state) loadPrivacy() (bool, error) {
	if s.dir == "" {
		return false, nil
	}
	_, err := os.Stat(s.path(PrivacyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, err
}

func (s *state) savePrivacy(on bool) error {
	if s.dir == "" {
		return nil
	}
	var err error
	if on {
		err = identity.WriteFile(s.path(PrivacyFile), nil, 0o644)
	} else if err = os.Remove(s.path(PrivacyFile)); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("keep the privacy mode: %w", err)
	}
	return nil
}
