package nat_test

import (
	"runtime"
	"syscall"
	"testing"
)

// BenchmarkBound reads what a table of 10^6 mappings cannot but read for a scattered packet: a line of an index of 16
// MiB, and by what stands there one of 61 MiB of records, next packet.
// Without any translation: BenchmarkTranslate's figures are to be seen beside these of the same run.
func BenchmarkBound(b *testing.B) {
	type line [8]uint64
	index, records := make([]line, 1<<18), make([]line, million)
	for i := range index {
		index[i][0] = uint64(scattered(i * 3 % million))
	}
	for i := range records {
		records[i][0] = uint64(i)
	}
	at := func(i int, before uint64) int { return (scattered(i%million)*7 + int(before>>63)) % len(index) }
	seen := uint64(0)
	b.Run("scattered", func(b *testing.B) {
		defer onOneCore(b)()
		for i := range b.N {
			seen = records[index[at(i, seen)][0]][0] // where the next one reads depends on what this one has read
		}
	})
	if seen == 1<<63 {
		b.Log(seen)
	}
}

// onOneCore measures what a loop costs in a core's own time, which others who load the machine do not take away.
func onOneCore(b *testing.B) func() {
	runtime.LockOSThread()
	begin := threadTime()
	return func() {
		runtime.UnlockOSThread()
		took := threadTime() - begin
		b.ReportMetric(float64(took)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(b.N)/float64(took)*1e3, "Mpps")
	}
}

func threadTime() int64 {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
