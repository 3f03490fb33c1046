package faults

var security []Fault
