package reports

func (c Certification) text(color bool) []byte { return nil }
