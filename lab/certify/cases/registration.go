package cases

// registration are the procedures of group REG.
func registration() map[string]Procedure { return map[string]Procedure{} }
