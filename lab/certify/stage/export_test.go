package stage

// Dir is where the programs' folders are, until Close.
func (s *Stage) Dir() string { return s.dir.Path }
