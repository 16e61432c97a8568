// Package secret keeps tokens and keys from being printed by accident.
package secret

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"
)

// redacted is what every way of printing a secret shows.
const redacted = "[redacted]"

// String is a secret. fmt, slog and encoding/json show "[redacted]"; only Reveal gives the value.
type String struct{ value string }

// New wraps a value.
func New(value string) String { return String{value: value} }

// Random makes a secret of 256 random bits in base64url (43 characters), the strength of the digest that rathole
// answers challenges with.
func Random() String {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // crypto/rand.Read never fails: it ends the program instead (Go 1.24)
	return New(base64.RawURLEncoding.EncodeToString(b))
}

// Reveal gives the value, for the one place that must write or compare it.
func (s String) Reveal() string { return s.value }

// IsZero tells whether there is no secret.
func (s String) IsZero() bool { return s.value == "" }

// String implements fmt.Stringer.
func (s String) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (s String) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText keeps the value out of JSON and every other text encoding. What must be stored is stored through Reveal.
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }
