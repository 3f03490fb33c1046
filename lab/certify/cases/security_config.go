package cases

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// configuration is SEC-8: each way to configure the camera that its vendor names (configuration.json, CONTRACT.md) is used with the
// right credentials, which has to work, and then without, with wrong ones, and by the tricks that have got past cameras' doors; then
// those doors are tried that cameras are known for. What an answer says counts for nothing: the setting is read again.
func configuration(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	ways, err := waysOf(camera)
	if err != nil {
		return s.Judge(err)
	}
	draw := rand.New(seeded(s.Seed(0)))
	for _, w := range ways {
		d := &door{s: s, m: x.Host("on-path"), way: w, draw: draw}
		if bad, err := d.try(ctx); err != nil {
			return s.Judge(err)
		} else if bad != "" {
			return s.Fail("%s: %s", w.Name, bad)
		}
	}
	bad, err := knownDoors(ctx, s, x, camera)
	switch {
	case err != nil:
		return s.Judge(err)
	case bad != "":
		return s.Fail("%s", bad)
	case len(ways) == 0:
		return s.Inconclusive("the camera says of no way by which its owner configures it (configuration.json): the doors that cameras are known "+
			"for let nobody in, in %d tries", s.Claim().Tries)
	}
	return s.Pass()
}

// wayIn is how a camera is configured: an entry of configuration.json.
type wayIn struct {
	Name     string   `json:"name"`
	User     string   `json:"user"`
	Password string   `json:"password"`
	Login    *request `json:"login"`
	Read     request  `json:"read"`
	Change   request  `json:"change"`
	Media    *request `json:"media"` // HTTP or RTSP (DESCRIBE)
	Setup    *request `json:"setup"` // makes {value} the password
}

// request is one of HTTP.
type request struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// longestConfiguration is of configuration.json, in bytes.
const longestConfiguration = 64 << 10

func waysOf(camera *stage.Camera) ([]wayIn, error) {
	b, err := camera.Result("configuration.json", longestConfiguration)
	if err != nil || b == nil {
		return nil, err
	}
	var c struct {
		Ways []wayIn `json:"ways"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, &stage.Fault{Role: certify.RoleCamera, Unit: 1, Device: fmt.Sprintf("gave a configuration.json that cannot be read: %v", err)}
	}
	for i := range c.Ways {
		if c.Ways[i].Name == "" {
			c.Ways[i].Name = fmt.Sprintf("way %d", i+1)
		}
	}
	return c.Ways, nil
}

// door is a way that is attacked.
type door struct {
	s     *stage.Stage
	m     *lab.Machine
	way   wayIn
	draw  *rand.Rand
	value string // of the setting, as the owner has set it
}

// word is a value that nothing else says.
func (d *door) word() string {
	b := []byte("punchlab")
	for range 10 {
		b = append(b, 'a'+byte(d.draw.IntN(26)))
	}
	return string(b)
}

// try uses the way as its owner does, and attacks it. bad says what is wrong.
func (d *door) try(ctx context.Context) (bad string, err error) {
	if bad, err := d.owner(ctx); bad != "" || err != nil {
		return bad, err
	}
	tricks := tricksOf(d.way)
	if d.s.Brief() {
		d.draw.Shuffle(len(tricks), func(i, j int) { tricks[i], tricks[j] = tricks[j], tricks[i] })
	}
	for _, t := range tricks {
		bad, err := d.attack(ctx, t)
		if err != nil {
			return "", err
		}
		d.s.Saw("tries", 2) // a change, and a reading
		if bad != "" {
			return bad, nil
		}
	}
	return d.owner(ctx)
}

// owner changes the setting by the right credentials.
func (d *door) owner(ctx context.Context) (bad string, err error) {
	value := d.word()
	if _, err := d.asOwner(ctx, d.way.Change, value); err != nil {
		return "", err
	}
	got, err := d.reading(ctx)
	if err != nil {
		return "", err
	}
	if !strings.Contains(got.body, value) {
		return fmt.Sprintf("a change with the right credentials took no effect: reading was answered with %d and %d bytes that do not have it",
			got.code, len(got.body)), nil
	}
	d.value = value
	d.s.Saw("accepted", 1)
	d.s.Note("%s: the owner has set %s", d.way.Name, value)
	return "", nil
}

// shutOut is how long a camera may keep its owner out that others have guessed at (EN 303 645 5.1-5): beyond it nothing can be read.
const shutOut = 90 * time.Second

// reading reads the setting as its owner, again and again while the camera lets nobody in since somebody has guessed.
func (d *door) reading(ctx context.Context) (got reply, err error) {
	limit := time.Now().Add(d.s.For(shutOut, 15*time.Second))
	for {
		if got, err = d.asOwner(ctx, d.way.Read, d.value); err != nil || got.code < 400 || time.Now().After(limit) {
			return got, err
		}
		if err := d.s.Pause(ctx, time.Second); err != nil {
			return got, err
		}
	}
}

// attack does both that must not work: a change, and a reading.
func (d *door) attack(ctx context.Context, t trick) (bad string, err error) {
	forged := d.word()
	changed, err := d.send(ctx, t, d.way.Change, forged)
	if err != nil {
		return "", err
	}
	read, err := d.send(ctx, t, d.way.Read, d.value)
	if err != nil {
		return "", err
	}
	now, err := d.reading(ctx)
	if err != nil {
		return "", err
	}
	leaked := strings.Contains(read.body, d.value) || strings.Contains(changed.body, d.value)
	altered := !strings.Contains(now.body, d.value)
	d.s.Try(altered)
	d.s.Try(leaked)
	d.s.Record(map[string]any{"way": d.way.Name, "trick": t.name, "change": changed.code, "read": read.code, "changed": altered, "given out": leaked})
	switch {
	case altered && strings.Contains(now.body, forged):
		return fmt.Sprintf("the setting was changed %s: the camera answered with %d", t.name, changed.code), nil
	case altered:
		return fmt.Sprintf("after an attempt to change the setting %s its owner cannot read it any more: code %d", t.name, now.code), nil
	case leaked:
		return fmt.Sprintf("the setting was given out %s: the camera answered with %d", t.name, read.code), nil
	}
	return "", nil
}
