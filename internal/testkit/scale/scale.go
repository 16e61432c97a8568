// Package scale makes tests and benchmarks longer than usual, by the environment.
package scale

import (
	"os"
	"strconv"
	"testing"
)

// Of reads a number from the environment: how large a test is made. If it is not set, it is otherwise.
func Of[N int | uint64](t testing.TB, name string, otherwise N) N {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return N(n)
}
