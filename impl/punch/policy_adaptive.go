package punch

import "time"

// adaptive races both from the first moment: media flows through the relay until the viewer nominates a direct path. It knows both
// sides' classes and does what can work: both at once, one side silent, a prediction, or a birthday search.
// Only the first access unit goes to the viewer's endpoint before the viewer is heard, because the relay carries the rest.
var adaptive = Policy{
	Name:    "adaptive",
	Summary: "the way that both NATs' classes allow, raced with the relay; media moves to the direct path without losing a frame",
	Direct:  true,
	Relay:   true,
	Methods: classic | MethodMapped | MethodSilence | MethodPrediction | MethodBirthday | MethodTCP,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	Stream:  patient,
	GiveUp:  3 * time.Second,
	Hush:    time.Second,
	Doubt:   time.Second,
	Predict: Prediction{Window: 24, Rounds: 4, Every: 700 * time.Millisecond},
	Birthday: Birthday{
		Sockets: 256, Probes: 2048, BlockSockets: 64, BlockProbes: 256, Rate: 640,
	},
	Budget: Budget{Packets: 4096, Bytes: 256 << 10, Rate: 1000},
	Blind:  256 << 10,
}
