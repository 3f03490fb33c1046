package certify

import "strings"

// cutID splits an ID into its group and number.
func cutID(id string) (group, number string, ok bool) { return strings.Cut(id, "-") }
