package faults

// missing are the cases that have no fault, and why.
var missing = map[string]string{}
