package stack

import (
	_ "embed"
	"slices"

	"github.com/punchlab/punchlab/topologies/document"
)

//go:embed external/external.schema.json
var externalSchemaText []byte

var externalSchema = document.MustCompile(externalSchemaText)

// ExternalSchema returns the JSON Schema of external systems.
func ExternalSchema() []byte { return slices.Clone(externalSchemaText) }

// ParseExternal reads an external system. The file's name is for the errors.
func ParseExternal(file string, data []byte) (*External, error) {
	d, err := document.Parse(file, data)
	if err != nil {
		return nil, err
	}
	d.Check(externalSchema)
	e := &External{}
	e.spec.Name = d.Root().Get("name").String()
	return e, d.Err()
}
