package lab

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// silence has a namespace drop whatever comes in and whatever it says itself, or ends that. It says so in tables of its own,
// before every other rule: turning forwarding off instead would leave the namespace's servers answering, and would not
// find out again whether IPv6 was forwarded.
func silence(ns *netns.NS, on bool) (err error) {
	var conn *nftables.Conn
	err = ns.Do(func() (err error) {
		conn, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return fmt.Errorf("silence namespace: open nftables: %w", err)
	}
	defer func() { err = errors.Join(err, conn.CloseLasting()) }()
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		t := &nftables.Table{Name: "silence", Family: family}
		conn.AddTable(t) // so that the deletion finds one
		conn.DelTable(t)
		if on {
			conn.AddTable(t)
			dropAll(conn, t)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("silence namespace: load nftables: %w", err)
	}
	return nil
}

// hush has a namespace's kernel not tell which groups its programs have joined. Nobody asked, and it would do so some time in the first
// seconds, also between a reset and the capture that is to have all that is sent from then on.
func hush(ns *netns.NS) error {
	err := ns.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		t := conn.AddTable(&nftables.Table{Name: "hush", Family: nftables.TableFamilyIPv4})
		out := conn.AddChain(&nftables.Chain{
			Table: t, Name: "out", Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter, Type: nftables.ChainTypeFilter,
		})
		conn.AddRule(&nftables.Rule{Table: t, Chain: out, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_IGMP}},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
		return conn.Flush()
	})
	if err != nil {
		return fmt.Errorf("hush namespace: %w", err)
	}
	return nil
}

// dropAll fills a table with chains that have no rule, only a policy.
func dropAll(conn *nftables.Conn, t *nftables.Table) {
	// Before fragments are put together (-400).
	first, drop := nftables.ChainPriority(-450), nftables.ChainPolicyDrop
	for name, hook := range map[string]*nftables.ChainHook{"in": nftables.ChainHookPrerouting, "out": nftables.ChainHookOutput} {
		conn.AddChain(&nftables.Chain{Table: t, Name: name, Hooknum: hook, Priority: &first, Type: nftables.ChainTypeFilter, Policy: &drop})
	}
}
