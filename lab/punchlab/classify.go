package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/punchlab/punchlab/lab/probe"
	"github.com/spf13/cobra"
)

func classifyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "classify HOST:PORT",
		Short: "Classify the NAT between here and an RFC 5780 server",
		Long: `Ask an RFC 5780 server (two addresses × two ports; 'punchlab rendezvous' is one) what the NATs between here and
there do to UDP: mapping and filtering in the terms of RFC 4787, port preservation and hairpinning.`,
		Example: `  punchlab classify stun.example.net:3478
  punchlab exec two-homes --set camera.nat=symmetric rendezvous -- punchlab rendezvous --- camera -- punchlab classify 198.51.100.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := resolve(args[0], 3478)
			if err != nil {
				return usage(err)
			}
			listen := func() (net.PacketConn, error) { return net.ListenPacket("udp4", ":0") }
			r, err := probe.Classify(cmd.Context(), listen, server, probe.Options{})
			if err != nil {
				return labError(err)
			}
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(classification(r))
			}
			printClassification(r)
			if r.NoUDP {
				return &exitError{exitUndecided, fmt.Errorf("no answer from %s: UDP is blocked, or no server is there", server)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// resolve reads HOST[:PORT] into an IPv4 endpoint.
func resolve(s string, defaultPort uint16) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, strconv.Itoa(int(defaultPort))
	}
	a, err := net.ResolveUDPAddr("udp4", net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve %s: %w", s, err)
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func classification(r probe.Result) map[string]any {
	if r.NoUDP {
		return map[string]any{"no_udp": true}
	}
	return map[string]any{
		"mapping": r.Mapping.String(), "filtering": r.Filtering.String(), "translated": r.Translated,
		"port_preserved": r.PortPreserved, "hairpin": r.Hairpin, "reflexive": r.Reflexive.String(), "no_udp": false,
	}
}

func printClassification(r probe.Result) {
	if r.NoUDP {
		return
	}
	table(os.Stdout, [][]string{
		{"mapping", r.Mapping.String()},
		{"filtering", r.Filtering.String()},
		{"translated", yesNo(r.Translated)},
		{"port preserved", yesNo(r.PortPreserved)},
		{"hairpinning", yesNo(r.Hairpin)},
		{"reflexive endpoint", r.Reflexive.String()},
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
