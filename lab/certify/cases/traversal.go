package cases

// traversal are the procedures of group NAT.
func traversal() map[string]Procedure { return map[string]Procedure{} }
