package punch

import "time"

// portmap has the owner's routers forward a port (PCP, NAT-PMP, UPnP IGD); what they map is punched beside the endpoint that the
// rendezvous sees.
var portmap = Policy{
	Name:    "portmap",
	Summary: "hole punching to what the routers map on request (PCP, NAT-PMP, UPnP)",
	Direct:  true,
	Methods: classic | MethodMapped,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	GiveUp:  3 * time.Second,
	Budget:  few,
	Blind:   256 << 10,
}
