package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is how many bytes of memory the running program and all that it has started have to themselves, by /proc.
func (p *Program) Memory() (int64, error) {
	p.mu.Lock()
	warden := p.warden
	p.mu.Unlock()
	if warden == 0 || !p.Alive() {
		return 0, fmt.Errorf("memory of %s: it does not run", p.name())
	}
	return memoryBelow(warden)
}

// memoryBelow sums up what the descendants of a process have to themselves: proc_pid_statm(5).
func memoryBelow(ancestor int) (int64, error) {
	pids, err := below(ancestor)
	if err != nil {
		return 0, err
	}
	var sum int64
	found := false
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue // gone meanwhile
		}
		var size, resident, shared int64
		if _, err := fmt.Sscan(string(b), &size, &resident, &shared); err == nil {
			sum, found = sum+max(resident-shared, 0)*int64(os.Getpagesize()), true
		}
	}
	if !found {
		return 0, fmt.Errorf("no process runs below %d", ancestor)
	}
	return sum, nil
}

// below are the descendants of a process: proc_pid_stat(5).
func below(ancestor int) (pids []int, err error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		if f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])); len(f) > 1 {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	for pid := range parents {
		parent := parents[pid]
		for hops := 0; parent != ancestor && parent > 1 && hops < len(parents); hops++ {
			parent = parents[parent]
		}
		if parent == ancestor {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
