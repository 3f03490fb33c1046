package reports

import (
	"errors"
	"io"

	"github.com/punchlab/punchlab/lab/gate"
)

// CalibrationFormats lists what RenderCalibration can write.
var CalibrationFormats = []string{"text", "md", "json", "svg", "png"}

// RenderCalibration writes a gate's operating curve in one of CalibrationFormats.
func RenderCalibration(w io.Writer, c *gate.Calibration, format string) error {
	return errors.New("render calibration: not written yet")
}
