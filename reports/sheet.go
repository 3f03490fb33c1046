package reports

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

var (
	//go:embed assets/sheet.gohtml
	sheetPage string
	//go:embed assets/sheet.css
	sheetCSS      string
	sheetTemplate = template.Must(template.New("sheet").Parse(sheetPage))
)

// sheet is a page of tables under one sentence.
type sheet struct {
	Kind, Title, Says, Foot string
	Mark                    string
	Standing                standing
	CSS                     template.CSS
	Meta                    []pair
	Problems                []string
	Parts                   []sheetPart
}

type sheetPart struct {
	ID, Title, Says string
	Head            []string
	Rows            [][]sheetCell
}

// sheetCell is a cell of a sheet. Class is text, name, n or nothing.
type sheetCell struct {
	Text, Small, Class string
	Standing           standing
	Row                bool // names the row
}

// write renders the sheet. Its texts have been made printable.
func (s sheet) write(w io.Writer) error {
	s.Mark, s.CSS = map[standing]string{good: "✓", doubt: "?", bad: "✗"}[s.Standing], template.CSS(pageCSS+certificateCSS+sheetCSS)
	var b bytes.Buffer
	if err := sheetTemplate.Execute(&b, s); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}
