package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// surroundings is what a program sees of its network.
type surroundings struct {
	Namespace  string
	Interfaces []string
	Loopback   bool // a connection to a listener on 127.0.0.1 and on ::1 comes about
}

func observe() (surroundings, error) {
	namespace, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return surroundings{}, err
	}
	seen := surroundings{Namespace: namespace, Loopback: connects("127.0.0.1:0")}
	interfaces, err := net.Interfaces()
	if err != nil {
		return surroundings{}, err
	}
	for _, i := range interfaces {
		seen.Interfaces = append(seen.Interfaces, i.Name)
	}
	return seen, nil
}

func connects(address string) bool {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = listener.Close() }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// probe is the program that the tests run by isolate.
func probe() {
	seen, err := observe()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(seen)
	}
	if err != nil {
		panic(err)
	}
}

func TestIsolateGivesANetworkOfItsOwnOrSaysThatItCannot(t *testing.T) {
	t.Parallel()
	outside, err := observe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := tools(t, "isolate", "--", "env", runAsTools+"=probe", self, "--flag-of-the-command", "-h")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var inside surroundings
	if err := json.Unmarshal(out, &inside); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if !inside.Loopback {
		t.Error("nothing can be reached on 127.0.0.1")
	}
	if strings.Contains(stderr.String(), "machine's own network") {
		if inside.Namespace != outside.Namespace {
			t.Errorf("said to be in the machine's network, but is in %s", inside.Namespace)
		}
		if os.Geteuid() == 0 {
			t.Skipf("root may not make a namespace here: %s", stderr.String())
		}
		return
	}
	if inside.Namespace == outside.Namespace {
		t.Error("same namespace as outside, and no word of it")
	}
	if len(inside.Interfaces) != 1 || inside.Interfaces[0] != "lo" {
		t.Errorf("interfaces inside: %v", inside.Interfaces)
	}
}

func TestIsolatePassesOnTheExitCode(t *testing.T) {
	t.Parallel()
	err := tools(t, "isolate", "--", "sh", "-c", "exit 7").Run()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != 7 {
		t.Errorf("got %v, want exit status 7", err)
	}
}

func TestIsolateRefusesWhatIsNoCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"isolate"}, {"isolate", "--"}, {"isolate", "--", "no-such-program-anywhere"}} {
		if err := tools(t, args...).Run(); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
