package link

// purpose tells apart the random numbers of one packet.
type purpose uint64

const (
	forLoss purpose = iota + 1
	forBurstState
	forBurstLoss
	forJitter
	forReorder
	forDuplicate
	forDuplicateJitter
	forCorrupt
	forCorruptBit
)

// draw is the source of one packet's random numbers.
type draw uint64

func newDraw(seed, flow, n uint64) draw { return draw(Mix(seed ^ Mix(flow^Mix(n)))) }

func (d draw) bits(p purpose) uint64 { return Mix(uint64(d) ^ uint64(p)<<56) }

// uniform returns the packet's number in [0, 1) for the purpose.
func (d draw) uniform(p purpose) float64 { return float64(d.bits(p)>>11) / (1 << 53) }

// Mix scatters the bits of z: the output function of SplitMix64 (Steele, Lea, Flood 2014). It derives seeds from
// seeds.
func Mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
