package punch

// relay sends nothing to the peer's own addresses.
var relay = Policy{
	Name:    "relay",
	Summary: "everything through the rendezvous' relay",
	Relay:   true,
	Blind:   256 << 10,
}
