package rendezvous

import "github.com/punchlab/punchlab/impl/identity"

// Record is what is known of a key beyond a restart.
type Record struct {
	Stamp    uint64 // the greatest timestamp of a handshake, without which a recorded one could be replayed; 0: no record
	Boot     uint64 // as the camera last said at Register; 0: it does not count
	LastSeen int64  // when its last session began or ended, in Unix seconds
	Role     Role   // the last one
}

// Store keeps records. The server loads one at the first contact with a key and saves it as it changes, and keeps no other
// copy of it than that of a device that it remembers. Implementations are called on the server's goroutine and must not
// block for long: they read one record, and write behind. What Load returns is what Save was last given, written or not.
type Store interface {
	Load(identity.PublicKey) (Record, bool)
	Save(identity.PublicKey, Record)
	Forget(identity.PublicKey)
}
