package cases

// securitySecond are further procedures of group SEC.
func securitySecond() map[string]Procedure {
	return map[string]Procedure{
		"SEC-7":  replays,
		"SEC-8":  configuration,
		"SEC-10": unanswered,
		"SEC-11": storm,
		"SEC-12": updates,
	}
}
