package certify

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"fmt"
)

// Contract is CONTRACT.md: how a vendor plugs a camera in.
//
//go:embed CONTRACT.md
var Contract string

// ContractVersion is what PUNCHLAB_CONTRACT says.
const ContractVersion = "1"

// Role is what a vendor's program is started as.
type Role string

// Roles. A vendor brings a camera; what else the camera's protocol needs comes from the vendor too, unless it is the bundled one.
const (
	RoleCamera     Role = "camera"
	RoleViewer     Role = "viewer"
	RoleRendezvous Role = "rendezvous"
	RoleRelay      Role = "relay"
)

// Roles are all of them.
var Roles = []Role{RoleCamera, RoleViewer, RoleRendezvous, RoleRelay}

// Action is what a vendor's program is started for.
type Action string

// Actions. All but run are asked of a camera that is running, by starting its program a second time beside it; of a black box they
// are asked of its hook.
const (
	ActionRun        Action = "run"         // do the role's work until SIGTERM
	ActionReset      Action = "reset"       // to the state of the factory
	ActionTransfer   Action = "transfer"    // to another owner
	ActionPrivacyOn  Action = "privacy-on"  // give no media
	ActionPrivacyOff Action = "privacy-off" // give media again
	ActionUpdate     Action = "update"      // look for new firmware now
	ActionPower      Action = "power"       // cut the power for a second. Never asked of an executable: the lab kills it
)

// Actions are all of them.
var Actions = []Action{ActionRun, ActionReset, ActionTransfer, ActionPrivacyOn, ActionPrivacyOff, ActionUpdate, ActionPower}

// Setting is an environment variable that a vendor's program finds.
type Setting struct{ Name, What string }

// Settings are all that the contract has.
func Settings() []Setting {
	return []Setting{
		{"PUNCHLAB_CONTRACT", "version of this contract: " + ContractVersion},
		{"PUNCHLAB_CASE", "a case's ID, such as NAT-1, and not that of the one that is run; for one that the program does not know it exits with 127"},
		{"PUNCHLAB_ROLE", "camera, viewer, rendezvous or relay"},
		{"PUNCHLAB_ACTION", "what it is started for: run, or an action"},
		{"PUNCHLAB_UNIT", "number of the unit, from 1; each unit has a state of its own"},
		{"PUNCHLAB_RESULT", "folder for results, empty at the start"},
		{"PUNCHLAB_STATE", "folder that outlives the program within a case, as a device's flash does; empty: as from the factory"},
		{"PUNCHLAB_SOURCE", "camera: H.264 stream (Annex B) to send as if it came from the sensor, over and over"},
		{"PUNCHLAB_TICKET", "viewer: file with what the camera wrote to its result folder as ticket"},
		{"PUNCHLAB_HOST", "name of the host in the lab"},
		{"PUNCHLAB_ADDR", "the host's addresses, comma-separated"},
		{"PUNCHLAB_RENDEZVOUS", "the rendezvous host's addresses, as this host reaches them, comma-separated"},
		{"PUNCHLAB_RELAY", "the relay host's addresses, likewise; empty if there is none"},
		{"PUNCHLAB_SEED", "seed of the case: with it the program may make its own choices repeatable"},
		{"PUNCHLAB_MEDIA", "seconds that a viewer watches from the first frame on"},
		{"PUNCHLAB_TIMEOUT", "seconds within which it has to be ready, or an action has to be done"},
	}
}

// Exit codes of a vendor's program.
const (
	ExitDone        = 0   // it did what it was started for; whether that passes is read from the packets
	ExitFailed      = 1   // it tried and could not
	ExitUnsupported = 127 // it does not know the case, the role or the action
)

// UnknownCase is the name of a case that there is not, from a seed. Whoever is asked for it must exit with ExitUnsupported: a program
// that does not look at what it is asked for claims more than it can.
func UnknownCase(seed uint64) string {
	for n := uint64(0); ; n++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("unknown case"), seed), n))
		name := fmt.Sprintf("%c%c%c-%d", 'A'+sum[0]%26, 'A'+sum[1]%26, 'A'+sum[2]%26, 1+int(sum[3])%99)
		known := false
		for _, c := range Catalogue() {
			known = known || c.Group() == name[:3]
		}
		if !known {
			return name
		}
	}
}
