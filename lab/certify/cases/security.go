package cases

// security are the procedures of group SEC.
func security() map[string]Procedure {
	return map[string]Procedure{
		"SEC-1": reflection,
		"SEC-2": forgedAddresses,
		"SEC-3": impostors,
		"SEC-4": onThePath,
		"SEC-5": atTheRelay,
		"SEC-6": askingAround,
		"SEC-9": openPorts,
	}
}
