package reports

import "errors"

// Compare writes two runs side by side into outDir, compare.html with its plots, and returns the files written. A run is a
// folder or a baseline file. Runs of unlike environments are shown with what they differ in, and not judged.
func Compare(dirA, dirB, outDir string) (files []string, err error) {
	return nil, errors.New("compare: not written yet")
}
