package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Sleeper is a Program that can be suspended. While a host sleeps its clock goes on, no packet reaches or leaves it, and its
// programs do nothing; what they had before they have again afterwards.
type Sleeper interface {
	Sleep() // when it returns, the program does nothing any more
	Wake()
}

// sleep suspends the host's programs and then the host's network, or wakes both.
func (m *Machine) sleep(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on == m.asleep {
		return nil
	}
	sleepers, err := m.sleepers()
	if err != nil && on {
		return err
	}
	if on {
		for _, s := range sleepers {
			s.Sleep()
		}
	}
	if err := silence(m.ns, on); err != nil {
		if on {
			wake(sleepers)
		}
		return fmt.Errorf("host %s: %w", m.Name, err)
	}
	m.asleep = on
	if !on {
		wake(sleepers)
	}
	return nil
}

func wake(sleepers []Sleeper) {
	for _, s := range sleepers {
		s.Wake()
	}
}

// sleepers are the programs that can sleep; the error says that there are others.
func (m *Machine) sleepers() (list []Sleeper, err error) {
	for _, id := range slices.Sorted(maps.Keys(m.programs)) {
		s, ok := m.programs[id].(Sleeper)
		if !ok {
			err = errors.Join(err, fmt.Errorf("a program on host %s can't sleep: it is a %T, which is no lab.Sleeper", m.Name, m.programs[id]))
			continue
		}
		list = append(list, s)
	}
	return list, err
}
