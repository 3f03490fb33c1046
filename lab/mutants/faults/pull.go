package faults

var pull []Fault
