package faults

var identity []Fault
