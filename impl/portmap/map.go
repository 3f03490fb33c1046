package portmap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// When the later methods begin to ask for a mapping, where the earlier ones stay silent.
const (
	pmpAfter  = 150 * time.Millisecond
	upnpAfter = 300 * time.Millisecond
)

// service is what the gateway speaks.
type service interface {
	method() Method
	// request has the port mapped, or the mapping renewed: port is the external one that is wanted, or has been granted.
	request(ctx context.Context, port uint16) (grant, error)
	// release has the mapping deleted.
	release(ctx context.Context, g grant) error
}

// grant is what a gateway has promised.
type grant struct {
	external netip.AddrPort
	lifetime time.Duration // 0: without end
	epoch    uint32        // s since the gateway lost its state
	hasEpoch bool
	at       time.Time
}

// Map finds out what the gateway speaks, and has it map the port. It fails if no mapping was granted within Config.Timeout
// or before ctx ends; later ctx has no meaning.
func Map(ctx context.Context, cfg Config) (*Mapping, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("map port: %w", err)
	}
	s, g, err := race(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("map %v port of %v at gateway %v: %w", cfg.Transport, cfg.Internal, cfg.Gateway, err)
	}
	return keep(cfg, s, g), nil
}

// outcome is how one method's try ended.
type outcome struct {
	service service
	grant   grant
	err     error
}

// race tries all methods and returns the first grant that can be believed.
func race(ctx context.Context, cfg *Config) (service, grant, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	results := make(chan outcome)
	refused := [2]chan struct{}{make(chan struct{}), make(chan struct{})} // closed when PCP and NAT-PMP have failed
	running := 0
	begin := func(s service, ready func(context.Context), failed chan struct{}) {
		if !slices.Contains(cfg.Methods, s.method()) {
			if failed != nil {
				close(failed)
			}
			return
		}
		running++
		go func() {
			o := try(ctx, cfg, s, ready)
			if failed != nil && o.err != nil {
				close(failed)
			}
			results <- o
		}()
	}
	begin(newPCP(cfg), func(context.Context) {}, refused[0])
	begin(&natpmp{cfg: cfg}, func(ctx context.Context) { wait(ctx, pmpAfter, refused[0]) }, refused[1])
	u := &igd{cfg: cfg}
	begin(u, func(ctx context.Context) {
		u.discover(ctx)
		wait(ctx, upnpAfter, refused[0], refused[1])
	}, nil)
	var won *outcome
	var errs []error
	for range running {
		o := <-results
		switch {
		case o.err != nil:
			errs = append(errs, fmt.Errorf("%v: %w", o.service.method(), o.err))
		case won == nil:
			won = &o
			cancel()
		case o.grant.external != won.grant.external:
			giveBack(o.service, o.grant)
		}
	}
	if won == nil {
		return nil, grant{}, errors.Join(errs...)
	}
	return won.service, won.grant, nil
}

// try asks one method, once it is its turn, and checks what it grants.
func try(ctx context.Context, cfg *Config, s service, ready func(context.Context)) outcome {
	started := time.Now()
	ready(ctx)
	g, err := s.request(ctx, cfg.External)
	if err == nil {
		if err = believe(g.external.Addr(), cfg.Seen); err != nil {
			giveBack(s, g)
		}
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrSecondNAT) {
		err = fmt.Errorf("%w in %v", ErrNoService, time.Since(started).Round(time.Millisecond))
	}
	return outcome{s, g, err}
}

// wait returns when all channels are closed, after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration, all ...<-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	for _, c := range all {
		select {
		case <-c:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// releasePatience is how long a gateway may take to delete a mapping.
const releasePatience = time.Second

func giveBack(s service, g grant) {
	ctx, cancel := context.WithTimeout(context.Background(), releasePatience)
	defer cancel()
	_ = s.release(ctx, g) // it ends by itself, or nobody can do anything
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// believe checks an external address against the one by which the rendezvous sees this host; zero: that is not known.
func believe(external, seen netip.Addr) error {
	switch {
	case !external.IsValid() || external.IsUnspecified():
		return fmt.Errorf("%w: it has no external address", ErrRefused)
	case seen.IsValid() && external == seen:
		return nil
	case external.IsPrivate(), shared.Contains(external), external.IsLinkLocalUnicast(), external.IsLoopback(), external.IsMulticast():
		return fmt.Errorf("%w: the gateway's external address %v is a private one; map the port at the next router too", ErrSecondNAT, external)
	case seen.IsValid():
		return fmt.Errorf("%w: the gateway says that its external address is %v, the rendezvous sees %v", ErrSecondNAT, external, seen)
	}
	return nil
}
