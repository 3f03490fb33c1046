// Command punchlab-adapter is the bundled camera, viewer, rendezvous and relay as a program of the certification lab's contract
// (lab/certify/CONTRACT.md): what it is to be it reads from its environment. See package adapter.
//
//	PUNCHLAB_ROLE=camera PUNCHLAB_ACTION=run … punchlab-adapter
package main

import "github.com/punchlab/punchlab/impl/adapter"

func main() { adapter.Main() }
