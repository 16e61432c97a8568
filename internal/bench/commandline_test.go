package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// side is a command line with one of the two providers, and what it took.
type side struct {
	cli  *testkit.CLI
	took map[string][]float64 // seconds, by command
	cpu  map[string][]float64 // seconds of processor time, of the command line and its provider
	peak float64              // MiB, of the largest process of the provider
}

// run runs a command, which must do what it says; a plan must find nothing to do.
func (s *side) run(b *testing.B, command string, parallelism int) {
	b.Helper()
	flags := []string{command, "-input=false", fmt.Sprint("-parallelism=", parallelism)}
	if command == "plan" {
		flags = append(flags, "-detailed-exitcode")
	} else {
		flags = append(flags, "-auto-approve")
	}
	cmd := s.cli.Command(b, flags...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(cmd.Process.Pid, ended) })
	err := cmd.Wait()
	took := time.Since(begin)
	close(ended)
	watching.Wait()
	if err != nil {
		b.Fatalf("terraform %s: %v\n%s", command, err, said.String())
	}
	if s.took == nil {
		s.took, s.cpu = map[string][]float64{}, map[string][]float64{}
	}
	s.took[command] = append(s.took[command], took.Seconds())
	s.cpu[command] = append(s.cpu[command], (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
}

// watch notes the largest resident size that the children of a command line ever had: the kernel keeps each one's, so that
// only what grows in its last moment is missed.
func (s *side) watch(pid int, ended <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, thread := range threads {
			children, _ := os.ReadFile(thread) // a thread that has ended has none
			for _, child := range strings.Fields(string(children)) {
				s.peak = max(s.peak, peakOf(child))
			}
		}
	}
}

// peakOf is the most that a process has had in memory, in MiB; 0 if it is gone.
func peakOf(pid string) float64 {
	text, _ := os.ReadFile(filepath.Join("/proc", pid, "status"))
	_, after, found := strings.Cut(string(text), "\nVmHWM:")
	if !found {
		return 0
	}
	kib, _ := strconv.ParseFloat(strings.Fields(after)[0], 64)
	return kib / 1024
}
