package faults

var traversal []Fault
