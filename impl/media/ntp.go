package media

import "time"

// abs-capture-time carries a 64-bit NTP timestamp (RFC 5905 §6): seconds since 1900 and fractions of
// 2^-32 s (0.23 ns). Both conversions round to the nearest, so a nanosecond comes back exact; pion's
// own truncate.

const (
	ntpToUnix  = 2208988800 // seconds from 1900 to 1970
	ntpEra     = 1 << 32
	ntpEarlier = 1 << 31 // era 0 holds second counts from here on (1968), era 1 those below (to 2104)
)

// toNTP returns false for times outside 1968 to 2104.
func toNTP(t time.Time) (uint64, bool) {
	sec := t.Unix() + ntpToUnix
	if sec < ntpEarlier || sec >= ntpEra+ntpEarlier {
		return 0, false
	}
	frac := (uint64(t.Nanosecond())<<32 + 5e8) / 1e9
	return uint64(sec)<<32 + frac, true
}

func fromNTP(ts uint64) time.Time {
	sec := int64(ts >> 32)
	if sec < ntpEarlier {
		sec += ntpEra
	}
	ns := (ts&0xFFFFFFFF*1e9 + 1<<31) >> 32
	return time.Unix(sec-ntpToUnix, int64(ns))
}
