package stack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/lab"
)

// externalValues is what templates can say of a trial:
//
//	{{.Dir}}       the scratch folder              {{addr "camera"}}          the host's first address
//	{{.Seed}}      the trial's seed                {{rendezvous "camera"}}    the rendezvous host's, as the camera has to write it
//	{{.Media}}     video to receive: 1s, 0s        {{join ADDRESS 4242}}      with a port, IPv6 in brackets
//	{{.Timeout}}   of the trial, from the request  {{seconds .Media}}         a time as a number
//	{{.Clip}}      a file with the project's H.264 clip (Annex B, 25 frames/s), in the scratch folder
type externalValues struct {
	Dir            string
	Seed           uint64
	Media, Timeout time.Duration
	topo           *lab.Topology // nil: made-up addresses
}

const clipName = "clip.h264"

// Clip writes the clip's file, the first time, and returns its name.
func (v externalValues) Clip() (string, error) {
	name := filepath.Join(v.Dir, clipName)
	if v.topo == nil {
		return name, nil
	}
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	var b bytes.Buffer
	for _, au := range media.EmbeddedClip().AccessUnits {
		b.Write(au.Data)
	}
	return name, os.WriteFile(name, b.Bytes(), 0o644)
}

// errNoAddress means that a topology does not have what a document asks for: the system can't run there.
var errNoAddress = errors.New("the topology has no such address")

func exampleValues() externalValues {
	return externalValues{Dir: "/tmp", Media: time.Second, Timeout: time.Second}
}

func (v externalValues) render(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"addr":       func(host string) (string, error) { return v.first(host, "", (*lab.Topology).HostAddr) },
		"rendezvous": func(host string) (string, error) { return v.first(host, " of the rendezvous for it", rendezvousFrom) },
		"join":       func(addr string, port int) string { return net.JoinHostPort(addr, strconv.Itoa(port)) },
		"seconds":    func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) },
	}).Parse(text)
	if err != nil {
		return "", templateError(err)
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", templateError(err)
	}
	return b.String(), nil
}

// templateError keeps the cause and drops the name that the template does not have.
func templateError(err error) error {
	if errors.Is(err, errNoAddress) {
		return err
	}
	said := strings.TrimPrefix(err.Error(), "template: :")
	said = strings.TrimSuffix(strings.Replace(said, `executing "" at `, "", 1), " in type stack.externalValues")
	return fmt.Errorf("not a template: %s", said)
}

func rendezvousFrom(t *lab.Topology, host string) []netip.Addr {
	return t.AddrsFrom(host, hostRendezvous)
}

func (v externalValues) first(host, what string, list func(*lab.Topology, string) []netip.Addr) (string, error) {
	if !slices.Contains(externalHosts, host) {
		return "", fmt.Errorf("no host %q: name one of %s", host, strings.Join(externalHosts, ", "))
	}
	if v.topo == nil {
		return "192.0.2.1", nil
	}
	addrs := list(v.topo, host)
	if len(addrs) == 0 {
		return "", fmt.Errorf("%w: host %s has no address%s", errNoAddress, host, what)
	}
	return addrs[0].String(), nil
}

func (v externalValues) renderAll(list []string) ([]string, error) {
	out := make([]string, len(list))
	for i, s := range list {
		var err error
		if out[i], err = v.render(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// environment is what a program on a host finds, or on none.
func (v externalValues) environment(m *lab.Machine, more []externalFile) ([]string, error) {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PUNCHLAB_ISOLATED=")
	})
	env = append(env, "HOME="+v.Dir, "TMPDIR="+v.Dir,
		fmt.Sprintf("PUNCHLAB_SEED=%d", v.Seed), fmt.Sprintf("PUNCHLAB_MEDIA=%g", v.Media.Seconds()),
		fmt.Sprintf("PUNCHLAB_TIMEOUT=%g", v.Timeout.Seconds()))
	if m != nil {
		env = append(env, "PUNCHLAB_HOST="+m.Name, "PUNCHLAB_ADDR="+commas(m.Addrs),
			"PUNCHLAB_RENDEZVOUS="+commas(rendezvousFrom(v.topo, m.Name)))
	}
	for _, e := range more {
		s, err := v.render(e.Text)
		if err != nil {
			return nil, err
		}
		env = append(env, e.Name+"="+s)
	}
	return env, nil
}

func commas(addrs []netip.Addr) string {
	s := make([]string, len(addrs))
	for i, a := range addrs {
		s[i] = a.String()
	}
	return strings.Join(s, ",")
}
