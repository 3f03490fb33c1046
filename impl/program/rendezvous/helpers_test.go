package rendezvous

import (
	"time"

	"github.com/punchlab/punchlab/impl/rendezvous"
)

func limits(keepalive time.Duration) rendezvous.Config {
	return rendezvous.Config{Keepalive: keepalive}
}
