package faults

var resilience []Fault
