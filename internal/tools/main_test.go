package main

import (
	"os"
	"os/exec"
	"testing"
)

// runAsTools makes this test binary the very program, so that the tests need not build it.
const runAsTools = "RUN_AS_TOOLS"

func TestMain(m *testing.M) {
	switch os.Getenv(runAsTools) {
	case "tools":
		main()
	case "probe":
		probe()
	default:
		os.Exit(m.Run())
	}
}

func tools(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), runAsTools+"=tools")
	return cmd
}
