package cases

// media are the procedures of group MED.
func media() map[string]Procedure { return map[string]Procedure{} }
