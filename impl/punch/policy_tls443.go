package punch

// tls443 reaches the rendezvous by TLS to port 443 and everything by its relay, for networks that let nothing else out.
var tls443 = Policy{
	Name:    "tls443",
	Summary: "everything through the rendezvous' relay by TLS on TCP port 443",
	Relay:   true,
	Uplink:  UplinkTLS,
	Blind:   256 << 10,
}
