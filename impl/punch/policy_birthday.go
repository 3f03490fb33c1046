package punch

import "time"

// birthday is hole punching that finds a random port: as many sockets on the side whose mappings depend on the destination,
// as many probed ports on the other.
var birthday = Policy{
	Name:     "birthday",
	Summary:  "hole punching that finds a random port by many sockets and probes; birthday:NxM has N sockets and M probes",
	Direct:   true,
	Methods:  classic | MethodBirthday,
	Fast:     quick,
	Slow:     400 * time.Millisecond,
	GiveUp:   3 * time.Second,
	Birthday: Birthday{Sockets: 256, Probes: 1024, BlockSockets: 64, BlockProbes: 69, Rate: 640},
	Budget:   Budget{Packets: 2048, Bytes: 128 << 10, Rate: 1000},
	Blind:    256 << 10,
}
