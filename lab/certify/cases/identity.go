package cases

// identity are the procedures of group ID.
func identity() map[string]Procedure {
	return map[string]Procedure{
		"ID-1": unguessable,
		"ID-2": keyProved,
		"ID-3": ownPassword,
		"ID-4": guessing,
		"ID-5": nothingShared,
		"ID-6": ownerLeaves,
	}
}
