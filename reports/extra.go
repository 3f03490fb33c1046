package reports

// extraSections make sections of the run's page from what lies in its folder beside the records, as calibration.json:
// each returns false where there is nothing of its kind. They stand after the page's own topics, in this order, with
// their figures among the run's plots, their tables in report.md and a link in the page's navigation.
var extraSections = []func(runDir string) (topic, bool, error){calibrationSection}

// extras are the sections that the run's folder has.
func extras(runDir string) (ts []topic, err error) {
	for _, section := range extraSections {
		t, ok, err := section(runDir)
		if err != nil {
			return nil, err
		}
		if ok {
			ts = append(ts, t)
		}
	}
	return ts, nil
}
