package manager_test

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
	"github.com/satishost/terraform-provider-rathole/manager"
)

const auth = "Authorization: Bearer " + testkit.Token

// TestOnePortForOneInstance tries to get a port twice, by every parameter there is.
func TestOnePortForOneInstance(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	mustCreate(t, m, one("a", 30000, api.TCP))
	body := `{"server_id": "b", "services": {"game": {"protocols": ["tcp"], "local_port": 1, "public_port": 30000}}}`
	testkit.Curl(t, "POST", m.URL+"/api/instances?replaces=a", body, auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
	testkit.Curl(t, "POST", m.URL+"/api/instances?dryrun=true", `{"server_id": "b", "game_port": 30010}`, auth).
		MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
	mustCreate(t, m, one("b", 30010, api.TCP))
	update := `{"services": {"game": {"protocols": ["tcp"], "local_port": 1, "public_port": 30000}}}`
	testkit.Curl(t, "PUT", m.URL+"/api/instances/b?replaces=a", update, auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
	if list, err := m.List(t.Context(), "", ""); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
}

// TestOtherSpellingsAreNoWayPast sends names in other cases, which encoding/json would take.
func TestOtherSpellingsAreNoWayPast(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	for _, body := range []string{
		`{"server_id": "a", "services": {"q": {"protocols": ["udp"], "local_port": 1, "LOCAL_PORT": 70000}}}`,
		`{"server_id": "a", "services": {"q": {"protocols": ["udp"], "local_port": 1, "PROTOCOLS": []}}}`,
		`{"server_id": "a", "services": {"q": {"protocols": ["udp"], "local_port": 1, "Protocols": ["sctp"]}}}`,
		`{"SERVER_ID": "a", "game_port": 30000}`,
		`{"server_id": "a", "game_port": 30000, "Host_IP": "0.0.0.0"}`,
	} {
		testkit.Curl(t, "POST", m.URL+"/api/instances", body, auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
	}
	broken := testkit.Curl(t, "POST", m.URL+"/api/instances", `{"token":"`+testkit.Token+`","server_id":"a"`, auth)
	if strings.Contains(broken.Body, testkit.Token) {
		t.Errorf("the answer repeats the token: %s", broken.Body)
	}
}

func TestUnspecifiedAddresses(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	for _, host := range []string{"0.0.0.0", "::"} {
		body := fmt.Sprintf(`{"server_id": "a", "game_port": 30000, "host_ip": %q}`, host)
		testkit.Curl(t, "POST", m.URL+"/api/instances", body, auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
		body = fmt.Sprintf(`{"server_id": "a", "services": {"q": {"protocols": ["udp"], "local_port": 1, "local_host": %q}}}`, host)
		testkit.Curl(t, "POST", m.URL+"/api/instances", body, auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
	}
	mustCreate(t, m, one("a", 30000, api.TCP))
	testkit.Curl(t, "GET", m.URL+"/api/instances/a/client-config?host_ip=0.0.0.0", "", auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
}

// TestServiceTakesThePortOfAnother gives one service the port that another one had by the manager's choice.
func TestServiceTakesThePortOfAnother(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	spec := api.InstanceSpec{Services: map[string]api.ServiceSpec{
		"a": {Protocols: []api.Protocol{api.UDP}, LocalPort: 1}, "b": {Protocols: []api.Protocol{api.UDP}, LocalPort: 2},
	}}
	made := mustCreate(t, m, api.CreateInstance{ServerID: "one", InstanceSpec: spec})
	taken := made.Services["b"].PublicPort
	spec.Services["a"] = api.ServiceSpec{Protocols: []api.Protocol{api.UDP}, LocalPort: 1, PublicPort: taken}
	now, err := m.Update(t.Context(), "one", api.UpdateInstance{InstanceSpec: spec}, client.UpdateOptions{})
	if err != nil || now.Services["a"].PublicPort != taken || now.Services["b"].PublicPort == taken {
		t.Errorf("%v %+v", err, now.Services)
	}
	ports, err := m.Ports(t.Context())
	if err != nil || ports.Public.Allocated != 2 {
		t.Errorf("%+v %v", ports.Public, err)
	}
}

// reopen stops a manager, changes its state, and starts another one on it.
func reopen(t *testing.T, m *testkit.Manager, change func(record string)) *testkit.Manager {
	t.Helper()
	m.Shutdown(t)
	change(filepath.Join(m.State, "instances", "one", "record.json"))
	return testkit.StartManager(t, func(c *manager.Config) { c.State, c.Bind = m.State, m.Bind })
}

// TestDeletionThatWasCommittedFreesThePorts is killed between a deletion's commit and its end.
func TestDeletionThatWasCommittedFreesThePorts(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, func(c *manager.Config) { c.StopOnExit = false })
	mustCreate(t, m, one("one", 30000, api.TCP))
	m = reopen(t, m, func(record string) {
		text, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(record, []byte(strings.Replace(string(text), `"desired": "running"`, `"desired": "absent"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	wait.Eventually(t, 5*time.Second, func() error {
		ports, err := m.Ports(t.Context())
		if err == nil && ports.Control.Allocated+ports.Public.Allocated != 0 {
			err = fmt.Errorf("ports: %+v", ports)
		}
		return err
	})
	mustCreate(t, m, one("two", 30000, api.TCP))
}

// TestUnreadableRecordIsNoAbsence tears a record: whoever asks for it is told so, and its ports stay its own.
func TestUnreadableRecordIsNoAbsence(t *testing.T) {
	t.Parallel()
	for _, enabled := range []bool{true, false} {
		t.Run(fmt.Sprint("enabled ", enabled), func(t *testing.T) {
			t.Parallel()
			m := testkit.StartManager(t, nil)
			req := one("one", 30000, api.TCP)
			req.Enabled = &enabled
			mustCreate(t, m, req)
			m = reopen(t, m, func(record string) {
				if err := os.WriteFile(record, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			})
			for _, route := range []string{"GET /api/instances/one", "DELETE /api/instances/one", "GET /api/instances/one/client-config", "GET /api/instances/one/logs", "POST /api/instances/one/restart"} {
				method, path, _ := strings.Cut(route, " ")
				p := testkit.Curl(t, method, m.URL+path, "", auth).MustBe(t, http.StatusInternalServerError, api.CodeInternal)
				if !strings.Contains(p.Detail, "cannot be read") {
					t.Errorf("%s: %s", route, p.Detail)
				}
			}
			_, _, err := m.Create(t.Context(), one("two", 30000, api.TCP), client.CreateOptions{})
			mustConflict(t, err, api.OwnerInstance, "one")
		})
	}
}

// TestStopAnswersWaitersAndCreators ends a manager with callers at work: each gets an answer, and what was answered is true.
func TestStopAnswersWaitersAndCreators(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, func(c *manager.Config) { c.StopOnExit = false })
	mustCreate(t, m, one("waited-for", 0, api.TCP))
	waited, sent := make(chan error, 1), make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
	go func() {
		i, err := m.Wait(ctx, "waited-for", api.StatusHealthy, 40*time.Second)
		if err == nil && i.Status != api.StatusInactive {
			err = fmt.Errorf("status %s", i.Status)
		}
		waited <- err
	}()
	<-sent
	const creators = 20
	created := make(chan string, creators)
	for i := range creators {
		go func() {
			id := fmt.Sprint("srv-", i)
			if _, _, err := m.Create(t.Context(), one(id, 0, api.TCP), client.CreateOptions{}); err != nil {
				id = ""
			}
			created <- id
		}()
	}
	told := map[string]bool{"waited-for": true}
	told[<-created] = true // some are under way, some are done
	begin := time.Now()
	m.Shutdown(t)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the end took %s", took)
	}
	if err := <-waited; err != nil {
		t.Errorf("the waiting caller: %v", err)
	}
	for range creators - 1 {
		told[<-created] = true
	}
	delete(told, "")
	again := testkit.StartManager(t, func(c *manager.Config) { c.State, c.Bind = m.State, m.Bind })
	list, err := again.List(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if !told[i.ServerID] {
			t.Errorf("nobody was told of %s", i.ServerID)
		}
		delete(told, i.ServerID)
	}
	if len(told) != 0 {
		t.Errorf("told of, and not there: %v", told)
	}
}
