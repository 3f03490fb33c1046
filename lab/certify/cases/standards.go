package cases

// standards are the procedures of group STD.
func standards() map[string]Procedure { return map[string]Procedure{} }
