package rendezvous

import _ "embed" // the two texts

// Unit is a systemd unit that runs 'punchlab rendezvous' with as little of the machine as it needs.
//
//go:embed deploy/punchlab-rendezvous.service
var Unit string

// Dockerfile builds an image of it from the repository.
//
//go:embed deploy/Dockerfile
var Dockerfile string
