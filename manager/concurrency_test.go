package manager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestTwoHundredCreatesFromTwentyCallers wants 200 instances (fewer where one user must run them all) with as many control
// ports, and then nothing left.
func TestTwoHundredCreatesFromTwentyCallers(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	const callers = 20
	each := min(10, testkit.Engines(t)/callers)
	made := make(chan api.Instance, callers*each)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n := range each {
				i, _, err := m.Create(t.Context(), api.CreateInstance{
					ServerID: fmt.Sprintf("srv-%d-%d", c, n),
					InstanceSpec: api.InstanceSpec{Services: map[string]api.ServiceSpec{
						"game": {Protocols: []api.Protocol{api.TCP, api.UDP}, LocalPort: 7777},
					}},
				}, client.CreateOptions{})
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				made <- i
			}
		})
	}
	wg.Wait()
	close(made)
	control, public := map[int]bool{}, map[int]bool{}
	for i := range made {
		control[i.RatholePort], public[i.Services["game"].PublicPort] = true, true
	}
	if len(control) != callers*each || len(public) != callers*each {
		t.Errorf("%d control ports and %d public ports for %d instances", len(control), len(public), callers*each)
	}
	for p := range public {
		if p < 20001 || p > 32767 {
			t.Errorf("public port %d was chosen outside 20001-32767", p)
		}
	}
	list, err := m.List(t.Context(), "srv-7-", "")
	if err != nil || len(list) != each {
		t.Errorf("list by prefix: %d instances, %v", len(list), err)
	}
	var page api.InstanceList
	testkit.Curl(t, "GET", m.URL+"/api/instances?limit=25&after=srv-0-0", "", "X-API-Token: "+testkit.Token).Into(t, &page)
	if len(page.Instances) != 25 || page.Next != page.Instances[24].ServerID || page.Instances[0].ServerID != "srv-0-1" {
		t.Errorf("page of %d instances, next %q", len(page.Instances), page.Next)
	}
	for c := range callers {
		wg.Go(func() {
			for n := range each {
				if err := m.Delete(t.Context(), fmt.Sprintf("srv-%d-%d", c, n)); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	ports, err := m.Ports(t.Context())
	if err != nil || ports.Control.Allocated+ports.Public.Allocated != 0 {
		t.Errorf("ports after the deletes: %+v %v", ports, err)
	}
}

// TestSameRequestTenTimesAtOnce wants one instance and ten equal answers.
func TestSameRequestTenTimesAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		key             []string
		created, exists int
	}{
		"without a key": {nil, 1, 9},
		"with one key":  {[]string{api.IdempotencyKeyHeader + ": k1"}, 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := testkit.StartManager(t, nil)
			answers := make(chan testkit.Answer, 10)
			for range cap(answers) {
				go func() {
					answers <- testkit.Curl(t, "POST", m.URL+"/api/instances", `{"server_id": "one", "game_port": 30000, "token": "`+testkit.Token+`"}`, tc.key...)
				}()
			}
			created, exists, bodies := 0, 0, map[string]bool{}
			for range cap(answers) {
				a := <-answers
				switch a.Status {
				case http.StatusCreated:
					created++
				case http.StatusOK:
					exists++
				default:
					t.Errorf("%d %s", a.Status, a.Body)
				}
				var body map[string]any
				a.Into(t, &body)
				delete(body, "status")
				delete(body, "conditions")
				text, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				bodies[string(text)] = true
			}
			if created != tc.created || exists != tc.exists || len(bodies) != 1 {
				t.Errorf("%d times 201, %d times 200, %d different bodies; want %d, %d, 1", created, exists, len(bodies), tc.created, tc.exists)
			}
			other := testkit.Curl(t, "POST", m.URL+"/api/instances", `{"server_id": "one", "game_port": 30002, "token": "`+testkit.Token+`"}`, tc.key...)
			if p := other.MustBe(t, http.StatusConflict, api.CodeInstanceExists); !strings.Contains(p.Detail, "one") {
				t.Errorf("the conflict does not name the instance: %s", p.Detail)
			}
		})
	}
}
