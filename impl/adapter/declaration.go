package adapter

import (
	_ "embed"
	"strconv"
	"strings"
)

//go:embed declaration.yaml
var declaration string

// Declaration returns what the bundled camera declares (lab/certify/CONTRACT.md), as YAML, for a firmware with a name, a version and a
// SHA-256 of 64 hexadecimal digits.
func Declaration(firmwareName, version, sha256 string) []byte {
	return []byte(strings.NewReplacer(
		"$NAME", strconv.Quote(firmwareName), "$VERSION", strconv.Quote(version), "$SHA256", strconv.Quote(sha256),
	).Replace(declaration))
}
