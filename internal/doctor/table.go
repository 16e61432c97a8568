package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/satishost/terraform-provider-rathole/internal/terminal"
)

// The forms in which findings are printed.
const (
	Table = "table"
	JSON  = "json"
)

// Report prints the findings to w and returns an error if one failed.
func Report(w io.Writer, form string, findings []Finding) error {
	show := printTable
	if form == JSON {
		show = printJSON
	}
	if err := show(w, findings); err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	failed := 0
	for _, f := range findings {
		if f.Status == Fail {
			failed++
		}
	}
	switch failed {
	case 0:
		return nil
	case 1:
		return errors.New("1 check failed")
	}
	return fmt.Errorf("%d checks failed", failed)
}

func printJSON(w io.Writer, findings []Finding) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false) // a mend may be a command with > in it
	return out.Encode(map[string][]Finding{"checks": findings})
}

func printTable(w io.Writer, findings []Finding) error {
	rows := [][]string{{"CHECK", "STATUS", "VALUE", "MEND"}}
	for _, f := range findings {
		rows = append(rows, []string{f.Check, string(f.Status), f.Value, f.Mend})
	}
	colours := map[Status]terminal.Colour{OK: terminal.Green, Warn: terminal.Yellow, Fail: terminal.Red}
	return terminal.Table(w, rows, 1, func(text string) terminal.Colour { return colours[Status(text)] })
}
