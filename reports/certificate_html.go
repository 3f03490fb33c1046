package reports

func (c Certification) html() ([]byte, error) { return nil, nil }
