package lab

// The words of Site.IPv6: what a router does to IPv6.
const (
	IPv6None        = "none"         // nothing passes, and the LAN has none
	IPv6Open        = "open"         // everything passes
	IPv6Firewall    = "firewall"     // stateful: endpoints that a host has contacted may answer (APDF)
	IPv6FirewallEIF = "firewall-eif" // stateful: anyone may answer a port that has been used
	IPv6FirewallADF = "firewall-adf" // stateful: addresses that a host has contacted may answer
	IPv6NPTv6       = "nptv6"        // RFC 6296: one prefix is exchanged for another, behind a stateful firewall
	IPv6NAT64       = "nat64"        // RFC 6146: hosts with IPv6 alone reach IPv4 by 64:ff9b::/96, through the NAT that Behavior is
)

// IPv6Modes lists the values of Site.IPv6.
func IPv6Modes() []string {
	return []string{IPv6None, IPv6Open, IPv6Firewall, IPv6FirewallEIF, IPv6FirewallADF, IPv6NPTv6, IPv6NAT64}
}
