package contain

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// stageEnv marks this executable started again, and says as what.
const stageEnv = "PUNCHLAB_CONTAIN"

const (
	stageWarden   = "warden"
	stageLauncher = "launcher"
)

// Descriptors that both stages are given.
const (
	ordersFD  = 3 // read: JSON, and to the warden one byte an order
	answersFD = 4 // write
	groupFD   = 5 // write: cgroup.procs of the program's cgroup, if there is one
)

// order is what the warden is to do, and the launcher after it.
type order struct {
	Program   string
	Args, Env []string
	Folder    string
	Hide      []string
	Show      []string
	Limits    Limits
	Grace     int64 // nanoseconds
	Group     bool  // there is a cgroup
	Hosts     string
	NoProc    bool // tests: see Spec
	NoOverlay bool
}

// Main becomes the warden or the launcher and does not return, where this process was started as one; otherwise it does nothing.
// Call it first in main and in TestMain, as live.Main.
func Main() {
	stage, ok := os.LookupEnv(stageEnv)
	if !ok {
		return
	}
	for _, fd := range []int{ordersFD, answersFD, groupFD} {
		unix.CloseOnExec(fd)
	}
	switch stage {
	case stageWarden:
		ward()
	case stageLauncher:
		launch()
	}
	os.Exit(1)
}

// nested says that Main was not called: this process would start itself again and again.
func nested() error {
	if _, ok := os.LookupEnv(stageEnv); ok {
		return fmt.Errorf("contain: this process was started as a %s and became none: call contain.Main first in main", os.Getenv(stageEnv))
	}
	return nil
}

// encode is v as one line of JSON.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return append(b, '\n')
}
