package punch

import "time"

// prediction is hole punching that guesses the next port of a sequential allocator (Guha and
// Francis 2005 for TCP; Klinec and Matyáš 2014).
var prediction = Policy{
	Name:    "prediction",
	Summary: "hole punching that guesses the next port of a sequential allocator; prediction:W guesses W ports a round",
	Direct:  true,
	Methods: classic | MethodPrediction,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	GiveUp:  3 * time.Second,
	Predict: Prediction{Window: 16, Rounds: 4, Every: 700 * time.Millisecond},
	Budget:  Budget{Packets: 1024, Bytes: 64 << 10, Rate: 1000},
	Blind:   256 << 10,
}
