package stack

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab"
)

// nodes are the rendezvous servers of a trial whose topology has several: processes of their own, one on each host, which
// meet over NATS servers that they bring along. No word between them goes by another way than the lab's network.
//
//	rendezvous    ── node ── NATS ──┐
//	rendezvous-2  ── node ── NATS ──┼── routes between the hosts
//	rendezvous-3  ── node ── NATS ──┘
type nodes struct {
	all     []*clusterNode
	observe func(any)

	mu     sync.Mutex
	killed time.Time // when the first of them was
	online time.Time // when a camera came online first after that
	ready  chan struct{}
	waits  int // for so many nodes
}

// clusterNode is one of them. It is a lab.Program.
type clusterNode struct {
	*process
	of      *nodes
	order   nodeOrder
	relayed int64 // under nodes.mu
	serves  bool
}

// nodeOrder is what a node is started with, a line of JSON on its standard input: keys are not for command lines.
type nodeOrder struct {
	Key    string // hexadecimal
	Addrs  []netip.Addr
	Name   string
	Routes string
	Peers  []string
}

// nodeNews is a line of JSON that a node writes.
type nodeNews struct {
	Ready   bool         `json:",omitempty"`
	Online  identity.UID `json:",omitzero"`
	Relayed int64        `json:",omitempty"` // bytes so far
	Error   string       `json:",omitempty"`
}

const (
	nodeEnv   = "PUNCHLAB_STACK_NODE" // set: this process is a node
	routePort = 6248
	// nodesTimeout is how long the nodes may take to find each other and to agree on a leader.
	nodesTimeout = 45 * time.Second
)

// rendezvousHosts lists the hosts of a topology that are rendezvous servers: rendezvous, rendezvous-2 and so on.
func rendezvousHosts(t *lab.Topology) (names []string) {
	for i := 1; ; i++ {
		name := "rendezvous"
		if i > 1 {
			name += "-" + strconv.Itoa(i)
		}
		if t.HostAddr(name) == nil {
			return names
		}
		names = append(names, name)
	}
}

// startNodes starts a node on each host, and returns when all of them serve.
func startNodes(ctx context.Context, l *lab.Lab, hosts []string, k identity.Key, observe func(any)) (*nodes, error) {
	n := &nodes{observe: observe, ready: make(chan struct{}), waits: len(hosts)}
	private := k.Private()
	for _, host := range hosts {
		m := l.Host(host)
		c := &clusterNode{of: n, order: nodeOrder{
			Key: hex.EncodeToString(private[:]), Addrs: (&server{machine: m}).addrs(), Name: host, Routes: route(m),
		}}
		for _, other := range hosts {
			if other != host {
				c.order.Peers = append(c.order.Peers, route(l.Host(other)))
			}
		}
		c.process = &process{
			name: host, machine: m, path: "/proc/self/exe", env: append(os.Environ(), nodeEnv+"=1"), input: true,
			line: func(_, line string, _ time.Time) { n.said(c, line) }, exited: func(string, int) {},
		}
		n.all = append(n.all, c)
		if err := c.Start(); err != nil {
			return nil, errors.Join(err, n.close())
		}
		c.forget = m.Run(c)
	}
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	select {
	case <-n.ready:
		return n, nil
	case <-ctx.Done():
		var says []string
		for _, c := range n.all {
			says = append(says, c.name+": "+c.process.said())
		}
		return nil, errors.Join(fmt.Errorf("the rendezvous nodes did not find each other within %v: %s", nodesTimeout, strings.Join(says, "; ")), n.close())
	}
}

func route(m *lab.Machine) string {
	return net.JoinHostPort(m.Addr().String(), strconv.Itoa(routePort))
}

// Start starts the node, and tells it what to be.
func (c *clusterNode) Start() error {
	if err := c.process.Start(); err != nil {
		return err
	}
	b, err := json.Marshal(c.order)
	if err != nil {
		return err
	}
	return c.write(string(b))
}

// Kill ends the node at once.
func (c *clusterNode) Kill() {
	c.of.mu.Lock()
	if c.of.killed.IsZero() {
		c.of.killed = time.Now()
	}
	c.of.mu.Unlock()
	c.process.Kill()
}

// said takes a line of a node.
func (n *nodes) said(c *clusterNode, line string) {
	var news nodeNews
	if json.Unmarshal([]byte(line), &news) != nil {
		return // what a library writes
	}
	now := time.Now()
	n.mu.Lock()
	c.relayed = max(c.relayed, news.Relayed)
	if news.Ready && !c.serves {
		c.serves = true
		if n.waits--; n.waits == 0 {
			close(n.ready)
		}
	}
	if !news.Online.IsZero() && !n.killed.IsZero() && n.online.IsZero() {
		n.online = now
	}
	n.mu.Unlock()
	if !news.Online.IsZero() {
		n.observe(rendezvous.Online{UID: news.Online, At: now})
	}
}

// absence is how long after the first node was killed the camera was registered at another; false: not yet, or none was.
func (n *nodes) absence() (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.online.Sub(n.killed), !n.online.IsZero()
}

// relayedBytes is what all of them have relayed, as they said last.
func (n *nodes) relayedBytes() (sum int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.all {
		sum += c.relayed
	}
	return sum
}

func (n *nodes) close() error {
	var wg sync.WaitGroup
	for _, c := range n.all {
		wg.Go(c.end)
	}
	wg.Wait()
	return nil
}

// Main is for the main function of a program that runs trials, before anything else. It returns unless this process is a
// rendezvous node of one.
func Main() {
	if os.Getenv(nodeEnv) == "" {
		return
	}
	if err := runNode(os.Stdin, os.Stdout); err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(nodeNews{Error: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

// runNode is a node's life: until it is told to end, or whoever started it is gone.
func runNode(in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	var order nodeOrder
	if err := json.Unmarshal(line, &order); err != nil {
		return err
	}
	private, err := hex.DecodeString(order.Key)
	if err != nil || len(private) != 32 {
		return errors.New("the order has no key")
	}
	key, err := identity.KeyFromPrivate([32]byte(private))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(news nodeNews) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(out).Encode(news)
	}
	h, err := program.Start(program.Options{
		Key: key, Addrs: order.Addrs, Port: bundledPort, Second: alternatePort, TLS: tlsPort, NeedStreams: true, NATS: "embedded",
		Cluster: program.ClusterOptions{Name: order.Name, Routes: order.Routes, Peers: order.Peers},
		Observe: func(e any) {
			if e, ok := e.(rendezvous.Online); ok {
				say(nodeNews{Online: e.UID})
			}
		},
	})
	if err != nil {
		return err
	}
	defer h.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := h.Joined(ctx); err != nil {
		return err
	}
	say(nodeNews{Ready: true})
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, r)
		close(gone)
	}()
	tick := time.NewTicker(relayedEvery)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-gone:
			return nil
		case <-tick.C:
			if now := h.Stats().Core.RelayedBytes; now != last {
				last = now
				say(nodeNews{Relayed: now})
			}
		}
	}
}

// relayedEvery is how often a node says what it has relayed, where that has grown.
const relayedEvery = 50 * time.Millisecond
