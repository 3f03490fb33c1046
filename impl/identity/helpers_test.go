package identity

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// testKey returns the nth of a fixed series of keys.
func testKey(t testing.TB, n uint64) Key {
	t.Helper()
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], n)
	k, err := NewKey(rand.NewChaCha8(seed))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
