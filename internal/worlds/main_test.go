package worlds_test

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(hostVariable); text != "" {
		os.Exit(runHost(text))
	}
	parallel := "6" // these tests wait more than they work
	if os.Geteuid() != 0 {
		parallel = "2" // but all engines of one user share its 128 inotify instances
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
