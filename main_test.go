package main

import (
	"os"
	"strings"
	"testing"
)

// TestQuiet has the libraries silent if nobody asks for a log, and leaves them alone if somebody does, for whatever part.
func TestQuiet(t *testing.T) {
	const framework = "TF_LOG_SDK_FRAMEWORK"
	for _, library := range []string{framework, "TF_LOG_SDK", "TF_LOG_SDK_PROTO"} {
		t.Setenv(library, "") // so that it is restored
	}
	for _, set := range os.Environ() {
		if name, value, _ := strings.Cut(set, "="); strings.HasPrefix(name, "TF_LOG") {
			t.Setenv(name, value)
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, asked := range []string{"TF_LOG", "TF_LOG_PROVIDER"} {
		t.Run(asked, func(t *testing.T) {
			t.Setenv(asked, "TRACE")
			if quiet(); os.Getenv(framework) != "" {
				t.Errorf("it is %s", os.Getenv(framework))
			}
		})
	}
	if quiet(); os.Getenv(framework) != "OFF" {
		t.Errorf("it is %q", os.Getenv(framework))
	}
}
