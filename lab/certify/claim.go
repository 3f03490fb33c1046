package certify

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/punchlab/punchlab/lab/stats"
)

// Confidence of every claim, one-sided: the share of claims that may be wrong is at most 1 − Confidence.
const Confidence = 0.95

// Claim is tries of which some failed, and what can be said by them. Of an attack a try is a try of the attacker, and a failure
// is one that got through.
type Claim struct {
	Tries    int `json:"tries"`
	Failures int `json:"failures"`
}

// valid says what is wrong with the counts.
func (c Claim) valid() error {
	if c.Tries < 0 || c.Failures < 0 || c.Failures > c.Tries {
		return fmt.Errorf("%d failures of %d tries cannot be", c.Failures, c.Tries)
	}
	if c.Tries > 1<<40 {
		return errors.New("more tries than anyone has made")
	}
	return nil
}

// Low is the least success rate that the tries allow at Confidence, by Clopper and Pearson (1934): exact. It panics on
// counts that cannot be.
func (c Claim) Low() float64 {
	c.check()
	low, _ := stats.ClopperPearson(c.Tries-c.Failures, c.Tries, oneSided)
	return low
}

// High is the greatest success rate that the tries allow at Confidence, as Low is the least.
func (c Claim) High() float64 {
	c.check()
	_, high := stats.ClopperPearson(c.Tries-c.Failures, c.Tries, oneSided)
	return high
}

// oneSided is the confidence of the two-sided interval each of whose ends holds at Confidence.
const oneSided = 2*Confidence - 1

func (c Claim) check() {
	if err := c.valid(); err != nil {
		panic("certify: claim: " + err.Error())
	}
}

// Holds reports whether the tries show at least this success rate.
func (c Claim) Holds(rate float64) bool { return c.Tries > 0 && c.Low() >= rate }

// Refutes reports whether the tries show that the success rate is less.
func (c Claim) Refutes(rate float64) bool { return c.Tries > 0 && c.High() < rate }

// String is the success rate that is shown: ≥ 95 % at 95 % confidence (n = 59). The rate is rounded down.
func (c Claim) String() string {
	if c.Tries == 0 {
		return "nothing (n = 0)"
	}
	failed := ""
	if c.Failures > 0 {
		failed = ", failed " + strconv.Itoa(c.Failures)
	}
	return fmt.Sprintf("≥ %s at %s confidence (n = %d%s)", floor(c.Low()), percent(Confidence), c.Tries, failed)
}

// Risk is the rate of failures that cannot be ruled out: ≤ 0.03 % at 95 % confidence (0 of 10000). It is rounded up.
func (c Claim) Risk() string {
	if c.Tries == 0 {
		return "nothing (0 of 0)"
	}
	return fmt.Sprintf("≤ %s at %s confidence (%d of %d)", ceiling(1-c.Low()), percent(Confidence), c.Failures, c.Tries)
}

// NeededTries is the least number of tries that, without a failure, show the success rate at Confidence: the n of
// rateⁿ ≤ 1 − Confidence. It panics unless the rate is between 0 and 1.
func NeededTries(rate float64) int {
	if !(rate > 0 && rate < 1) {
		panic("certify: a rate that tries can show is between 0 and 1")
	}
	return int(math.Ceil(math.Log(1-Confidence) / math.Log(rate)))
}

// floor writes a success rate, rounded down to the first digit of what is missing to 1: 0.95051 is 95 %, 0.99970 is 99.97 %.
func floor(rate float64) string {
	scale := digits(1 - rate)
	return trim(math.Floor(rate*100*scale+slack)/scale) + " %"
}

// ceiling writes a rate, rounded up to its first digit below a percent, or to whole percents.
func ceiling(rate float64) string {
	scale := digits(rate)
	return trim(math.Min(100, math.Ceil(rate*100*scale-slack)/scale)) + " %"
}

// slack keeps a bound that is a round figure from being rounded past itself by binary fractions.
const slack = 1e-9

// digits is the power of ten that keeps one digit of a small rate's percents.
func digits(rate float64) float64 {
	scale := 1.0
	for p := rate * 100; p > 0 && p*scale < 1-slack && scale < 1e9; {
		scale *= 10
	}
	return scale
}

func trim(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// percent writes a rate that is a round figure.
func percent(rate float64) string { return trim(math.Round(rate*1e8)/1e6) + " %" }
