package cases

// resilience are the procedures of group RES.
func resilience() map[string]Procedure { return map[string]Procedure{} }
