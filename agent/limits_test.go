package agent_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestOpenFilesExhausted configures a client with no descriptor left, then with one, two and so on, until it succeeds.
// Whatever step it fails at, it says why and leaves nothing.
func TestOpenFilesExhausted(t *testing.T) {
	if !testkit.Alone(t, false) {
		return
	}
	// Go raised the soft limit, and gives children the old one unless it is told another.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 200, Max: 200}); err != nil {
		t.Fatal(err)
	}
	a := testkit.StartAgent(t, nil)
	body, err := json.Marshal(api.ConfigureClient{ClientConfig: "[client]\nremote_addr = \"127.0.0.1:9\"\n" +
		"[client.services.game_tcp]\ntype = \"tcp\"\ntoken = \"x\"\nlocal_addr = \"127.0.0.1:30000\"\n"})
	if err != nil {
		t.Fatal(err)
	}
	const auth = "Authorization: Bearer " + testkit.Token
	configure := func(id string) testkit.Answer {
		return testkit.Curl(t, "POST", a.URL+"/api/rathole/clients/"+id+"/configure", string(body), auth)
	}
	if got := configure("before"); got.Status != 200 { // it finds the engine, and keeps a connection: none can be made later
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	var spent []int
	for {
		fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		spent = append(spent, fd)
	}
	refusals := 0
	for ; refusals < 30; refusals++ {
		got := configure("refused")
		if got.Status == 200 {
			break
		}
		if p := got.MustBe(t, 507, api.CodeOpenFilesExhausted); !strings.Contains(p.Detail, "RLIMIT_NOFILE is 200") {
			t.Errorf("it says %s", p.Detail)
		}
		if units, err := os.ReadDir(filepath.Join(a.State, "clients")); refusals > 0 && (err != nil || len(units) != 1) {
			t.Errorf("with %d left: %v %v", refusals, err, units)
		}
		_ = syscall.Close(spent[refusals])
	}
	for _, fd := range spent[refusals:] {
		_ = syscall.Close(fd)
	}
	if refusals < 5 || refusals == 30 {
		t.Errorf("refused %d times", refusals)
	}
}
