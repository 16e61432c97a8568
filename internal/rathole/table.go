package rathole

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// table is one TOML table while it is read. What was not asked for by the time it is closed is unknown to rathole.
type table struct {
	d       *decoder
	key     toml.Key
	entries map[string]toml.Primitive
	asked   map[string]bool
}

func (t *table) path(name string) toml.Key {
	return append(slices.Clone(t.key), name)
}

// get gives a key's value as the parser's Go type, nil if it is absent.
func (t *table) get(name string) any {
	t.asked[name] = true
	entry, exists := t.entries[name]
	if !exists {
		return nil
	}
	var value any
	if err := t.d.md.PrimitiveDecode(entry, &value); err != nil {
		return nil
	}
	return value
}

// sub opens a table inside, nil if it is absent or something else.
func (t *table) sub(name string) *table {
	value := t.get(name)
	if value == nil {
		return nil
	}
	if _, ok := value.(map[string]any); !ok {
		t.wrongType(name, "a table", value)
		return nil
	}
	inner := &table{d: t.d, key: t.path(name), entries: map[string]toml.Primitive{}, asked: map[string]bool{}}
	if err := t.d.md.PrimitiveDecode(t.entries[name], &inner.entries); err != nil {
		t.d.refuse(inner.key, "must be a table")
		return nil
	}
	for key, entry := range inner.entries {
		t.d.seen[inner.path(key).String()] = entry
	}
	return inner
}

func (t *table) str(name string, into *string) {
	switch value := t.get(name).(type) {
	case nil:
	case string:
		if value == "" {
			t.d.refuse(t.path(name), "must not be empty")
		}
		*into = value
	default:
		t.wrongType(name, "a string", value)
	}
}

func (t *table) secret(name string, into *secret.String) {
	text := ""
	t.str(name, &text)
	*into = secret.New(text)
}

func (t *table) protocol(name string, into *api.Protocol) {
	text := string(*into)
	t.str(name, &text)
	*into = api.Protocol(text)
}

func (t *table) boolean(name string, into **bool) {
	switch value := t.get(name).(type) {
	case nil:
	case bool:
		*into = &value
	default:
		t.wrongType(name, "true or false", value)
	}
}

func (t *table) number(name string, into *uint64) {
	switch value := t.get(name).(type) {
	case nil:
	case int64:
		if value < 1 {
			// In the struct 0 means absent, so that it must be refused here.
			t.d.refuse(t.path(name), "must be a number of seconds, 1 or more")
			return
		}
		*into = uint64(value)
	default:
		t.wrongType(name, "a whole number", value)
	}
}

func (t *table) optionalNumber(name string, into **uint64) {
	number := uint64(0)
	t.number(name, &number)
	if number > 0 {
		*into = &number
	}
}

func (t *table) wrongType(name, want string, value any) {
	t.d.refuse(t.path(name), fmt.Sprintf("must be %s, not %s", want, typeName(value)))
}

// close refuses every key that was not asked for. Its value is not told: it may be a token under a misspelt key.
func (t *table) close() {
	known := []string{}
	for name := range t.asked {
		known = append(known, name)
	}
	slices.Sort(known)
	for name := range t.entries {
		if !t.asked[name] {
			t.d.refuse(t.path(name), "unknown to rathole "+Version+", which knows here: "+strings.Join(known, ", "))
		}
	}
}

func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	}
	return "a list"
}
