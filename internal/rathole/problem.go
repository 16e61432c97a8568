package rathole

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// maxProblems bounds an error's size: a file of garbage has one per line.
const maxProblems = 100

// ConfigError lists everything that is wrong with a config. It never holds the value of a token, key or password.
type ConfigError struct {
	// Problems are sorted by line. Location is the key and, when the config came as text, its line:
	// "client.services.game_tcp.token (line 7)", or "line 7" alone where the text is not TOML.
	Problems []api.FieldError
}

// Error is one sentence with every problem.
func (e *ConfigError) Error() string {
	list := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		if p.Location == "" {
			list = append(list, p.Message)
			continue
		}
		list = append(list, p.Location+": "+p.Message)
	}
	return "invalid rathole config: " + strings.Join(list, "; ")
}

// problem is one finding before it is shown. Key is nil for what concerns the text as a whole; line is 0 for a config
// that never was text, or a key that is missing together with its table.
type problem struct {
	key     toml.Key
	line    int
	message string
	value   any // never a secret
}

// configError turns findings into an error, nil if there are none. line finds the line of a key, and is nil for a config
// that never was text. It is asked for no more keys than are shown.
func configError(found []problem, line func(toml.Key) int) error {
	if len(found) == 0 {
		return nil
	}
	found = slices.Clone(found)
	slices.SortFunc(found, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), slices.Compare(a.key, b.key), cmp.Compare(a.message, b.message))
	})
	more := len(found) - maxProblems
	if more > 0 {
		found = found[:maxProblems]
	}
	for i, p := range found {
		if p.line == 0 && line != nil {
			found[i].line = line(p.key)
		}
	}
	slices.SortStableFunc(found, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	e := &ConfigError{}
	for _, p := range found {
		e.Problems = append(e.Problems, api.FieldError{Message: p.message, Location: p.location(), Value: p.value})
	}
	if more > 0 {
		e.Problems = append(e.Problems, api.FieldError{Message: fmt.Sprintf("and %d more problems", more)})
	}
	return e
}

func (p problem) location() string {
	switch {
	case len(p.key) == 0 && p.line == 0:
		return ""
	case len(p.key) == 0:
		return fmt.Sprintf("line %d", p.line)
	case p.line == 0:
		return showKey(p.key)
	}
	return fmt.Sprintf("%s (line %d)", showKey(p.key), p.line)
}

// showKey writes a key as TOML does, but shortens what is absurdly long and escapes what is not printable: the name comes
// from whoever wrote the file and goes to logs and terminals.
func showKey(key toml.Key) string {
	parts := make([]string, 0, len(key))
	for _, part := range key {
		parts = append(parts, showName(part))
	}
	return strings.Join(parts, ".")
}

func showName(s string) string {
	if within(s, 64, lower+upper+digits+"_-") {
		return s
	}
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	return strconv.QuoteToASCII(s)
}
