package demo_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/tools/demo"
)

// screen keeps what is printed, and tells of each line.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
	saw  func(text string)
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.saw != nil {
		s.saw(string(p))
	}
	return len(p), nil
}

func options(t *testing.T, out *screen) demo.Options {
	t.Helper()
	return demo.Options{
		Root: "../../..", Rathole: testkit.Rathole(t), Terraform: testkit.Terraform(t), Temp: testkit.StateDir(t),
		Out: out, In: strings.NewReader(""),
	}
}

// mustBeClean checks that a demonstration took its directory away; that it left no process it checks itself.
func mustBeClean(t *testing.T, o demo.Options) {
	t.Helper()
	if left, err := os.ReadDir(o.Temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if left, err := demo.Processes(o.Temp); err != nil || len(left) != 0 {
		t.Errorf("processes left: %v %v", left, err)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	var out screen
	o := options(t, &out)
	if err := demo.Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, out.text.String())
	}
	for _, want := range []string{"srv_quickstart", "healthy", "terraform apply", "udp 3", "Nothing is left"} {
		if !strings.Contains(out.text.String(), want) {
			t.Errorf("the screen does not show %q:\n%s", want, out.text.String())
		}
	}
	mustBeClean(t, o)
}

// TestInterruptLeavesNothing ends the demonstration at each of its lines.
func TestInterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"Building", "rathole-manager answers", "rathole-agent answers", "terraform apply", "terraform plan", "Press Enter", "terraform destroy"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := screen{saw: func(text string) {
				if strings.Contains(text, at) {
					cancel()
				}
			}}
			o := options(t, &out)
			never, end, err := os.Pipe() // a terminal at which nobody presses Enter
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = errors.Join(never.Close(), end.Close()) }()
			if at == "Press Enter" {
				o.Wait, o.In = true, never
			}
			if err := demo.Run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v, want the interrupt\n%s", err, out.text.String())
			}
			mustBeClean(t, o)
		})
	}
}
