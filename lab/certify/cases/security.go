package cases

// security are the procedures of group SEC.
func security() map[string]Procedure {
	return map[string]Procedure{
		"SEC-1":  reflection,
		"SEC-2":  forgedAddresses,
		"SEC-3":  impostors,
		"SEC-4":  onThePath,
		"SEC-5":  atTheRelay,
		"SEC-6":  askingAround,
		"SEC-7":  replays,
		"SEC-8":  configuration,
		"SEC-9":  openPorts,
		"SEC-10": unanswered,
		"SEC-11": storm,
		"SEC-12": updates,
	}
}
