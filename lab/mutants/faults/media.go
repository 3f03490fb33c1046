package faults

var media []Fault
