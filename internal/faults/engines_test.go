package faults_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/flow"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/scale"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

const (
	// noticed is how soon a fault of an engine must be told, or mended.
	noticed = 2 * time.Second
	// replaced is how long a frozen engine may last: it is looked at every five seconds, and given ten.
	replaced = 20 * time.Second
	// lap is how long round trips are measured before a fault.
	lap = 3 * time.Second
)

// stage is a manager and an agent with tunnels: a victim, and neighbours with players.
type stage struct {
	manager *instances
	agent   *clients
	halves  []half // of the victim
	sick    string // directory: an engine of the unit <name> exits at once if there is a file <name>, with the code in it
	checker *flow.Checker
}

// half is one half of the victim's tunnel.
type half struct {
	program *program
	ask     func(t *testing.T) api.Condition // ProcessRunning
}

const victim = "busy00"

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{manager: newInstances(t, startGame(t))}
	var agentProgram *program
	s.agent, agentProgram = newClients(t)
	engine := s.engine(t)
	for _, p := range []*program{s.manager.program, agentProgram} {
		p.Binary = engine
		p.start(t, "", 0)
		p.mustBeReady(t)
	}
	s.halves = []half{
		{s.manager.program, func(t *testing.T) api.Condition {
			i, err := s.manager.Get(t.Context(), victim)
			return running(t, i.Conditions, err)
		}},
		{agentProgram, func(t *testing.T) api.Condition {
			c, err := s.agent.Get(t.Context(), victim)
			return running(t, c.Conditions, err)
		}},
	}
	_, addresses := mustConnect(t, s.manager, s.agent, 4)
	s.checker = flow.Start(t.Context(), flow.Config{Targets: addresses[1:], TCP: 1, UDP: 1, Rate: 25 * time.Millisecond})
	return s
}

func running(t *testing.T, conditions []api.Condition, err error) api.Condition {
	t.Helper()
	<-time.After(50 * time.Millisecond) // asking must not be what makes other tunnels slow
	if err != nil || len(conditions) == 0 || conditions[0].Type != api.ProcessRunning {
		t.Fatalf("%+v, %v", conditions, err)
	}
	return conditions[0]
}

// engine is rathole, but for the units that are made sick.
func (s *stage) engine(t *testing.T) string {
	t.Helper()
	dir := testkit.StateDir(t)
	s.sick = filepath.Join(dir, "sick")
	// Engines run as users of their own, who may not look into a developer's cache.
	healthy, script := filepath.Join(dir, "rathole"), filepath.Join(dir, "engine")
	text := fmt.Sprintf("#!/bin/sh\nid=${2%%/conf/*}\nsick=%s/${id##*/}\n[ -f \"$sick\" ] && exit \"$(cat \"$sick\")\"\nexec %s \"$@\"\n", s.sick, healthy)
	for _, err := range []error{os.MkdirAll(s.sick, 0o755), os.WriteFile(script+".text", []byte(text), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustInstall(t, testkit.Rathole(t), healthy)
	mustInstall(t, script+".text", script)
	return script
}

// mustSignal sends a signal to the victim's engine and returns its pid.
func (h half) mustSignal(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	engines, err := h.program.engines()
	if err != nil || len(engines[victim]) != 1 {
		t.Fatalf("%d engines of the %s run the victim, %v", len(engines[victim]), h.program.Kind, err)
	}
	pid := engines[victim][0]
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
	return pid
}

// mustNotice waits until the fault of an engine is told in the status, or the engine is replaced.
func (h half) mustNotice(t *testing.T, pid int) {
	t.Helper()
	begin, said := time.Now(), ""
	wait.Eventually(t, noticed, func() error {
		c := h.ask(t)
		said = c.Message
		if c.Status == api.True && regexp.MustCompile(fmt.Sprintf(`\b%d\b`, pid)).MatchString(c.Message) {
			return errors.New(c.Message)
		}
		return nil
	})
	t.Logf("%s: after %s: %s", h.program.Kind, time.Since(begin).Round(time.Millisecond), said)
}

// mustHeal waits until the victim is well.
func (s *stage) mustHeal(t *testing.T, within time.Duration) {
	t.Helper()
	wait.Eventually(t, within, func() error {
		i, err := s.manager.Get(t.Context(), victim)
		if err == nil && i.Status != api.StatusHealthy {
			err = fmt.Errorf("%s: %+v", i.Status, i.Conditions)
		}
		return err
	})
}

// TestSickEngines breaks the engines of one tunnel in every way that rathole or its machine can. It is told or mended within
// two seconds, the tunnel heals, and the players of other tunnels notice nothing.
func TestSickEngines(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, s *stage){
		"killed":             killed,
		"frozen":             frozen,
		"exits 0 in a loop":  func(t *testing.T, s *stage) { exits(t, s, 0) },
		"exits 1 in a loop":  func(t *testing.T, s *stage) { exits(t, s, 1) },
		"exits 70 in a loop": func(t *testing.T, s *stage) { exits(t, s, 70) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			<-time.After(lap)
			before := s.checker.Lap()
			fault(t, s)
			during := s.checker.Lap()
			s.mustHeal(t, 20*time.Second)
			mustNotHaveNoticed(t, s.checker)
			t.Logf("round trips of other tunnels before: %s", before)
			t.Logf("round trips of other tunnels during: %s, p99 %.2f times as long", during, float64(during.P99)/float64(before.P99))
		})
	}
}

func killed(t *testing.T, s *stage) {
	t.Helper()
	for _, h := range s.halves {
		begin := time.Now()
		h.mustNotice(t, h.mustSignal(t, syscall.SIGKILL))
		s.mustHeal(t, 20*time.Second)
		t.Logf("%s: healthy again after %s", h.program.Kind, time.Since(begin).Round(time.Millisecond))
	}
}

// frozen stops engines, and those that replace them, for FAULTS_FREEZE seconds.
func frozen(t *testing.T, s *stage) {
	t.Helper()
	until := time.Now().Add(time.Duration(scale.Of(t, "FAULTS_FREEZE", 1)) * time.Second)
	for first := true; first || time.Now().Before(until); first = false {
		for _, h := range s.halves {
			h.mustNotice(t, h.mustSignal(t, syscall.SIGSTOP))
		}
		for _, h := range s.halves {
			wait.Eventually(t, replaced, func() error {
				c := h.ask(t)
				if c.Status != api.True {
					return errors.New(c.Message)
				}
				return nil
			})
		}
	}
}

// exits lets engines exit at once, again and again, until the next try is FAULTS_BACKOFF seconds away. An order to restart
// does not wait for that.
func exits(t *testing.T, s *stage, code int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.sick, victim), []byte(strconv.Itoa(code)), 0o644); err != nil {
		t.Fatal(err)
	}
	enough := scale.Of(t, "FAULTS_BACKOFF", 3)
	next := regexp.MustCompile(`next try in (\d+) s`)
	for _, h := range s.halves {
		h.mustNotice(t, h.mustSignal(t, syscall.SIGKILL))
	}
	for _, h := range s.halves {
		longest := 0
		wait.Eventually(t, 4*time.Duration(enough)*time.Second+noticed, func() error {
			c := h.ask(t)
			if match := next.FindStringSubmatch(c.Message); match != nil {
				seconds, err := strconv.Atoi(match[1])
				if err != nil {
					return err
				}
				longest = max(longest, seconds)
			}
			if longest < enough {
				return fmt.Errorf("the next try is never more than %d s away: %+v", longest, c)
			}
			return nil
		})
		t.Logf("%s: %s", h.program.Kind, h.ask(t).Message)
		if longest > 72 {
			t.Errorf("the next try is %d s away, more than a minute and its jitter", longest)
		}
	}
	if err := os.Remove(filepath.Join(s.sick, victim)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.manager.Restart(t.Context(), victim); err != nil {
		t.Error(err)
	}
	if _, err := s.agent.Restart(t.Context(), victim); err != nil {
		t.Error(err)
	}
}
