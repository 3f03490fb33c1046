package reports

import _ "embed"

// compareCSS is what the pages of comparison and trend need beside pageCSS.
//
//go:embed assets/compare.css
var compareCSS string
