package faults

var registration []Fault
