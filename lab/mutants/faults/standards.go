package faults

var standards []Fault
