package manager_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
)

// TestGuideCommands types the guide's commands as they stand: the token in the body or the query.
func TestGuideCommands(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	const create = `{
	  "server_id": "srv_user123_abcd1234",
	  "game_port": 30000,
	  "beacon_port": 30001,
	  "token": "` + testkit.Token + `"
	}`
	made := testkit.Curl(t, "POST", m.URL+"/api/instances", create)
	var i api.Instance
	made.Into(t, &i)
	if made.Status != http.StatusCreated || i.ServerID != "srv_user123_abcd1234" || i.Services["beacon"].PublicPort != 30001 {
		t.Fatalf("create: %d %s", made.Status, made.Body)
	}
	query := "?token=" + testkit.Token
	var list api.InstanceList
	testkit.Curl(t, "GET", m.URL+"/api/instances"+query, "").Into(t, &list)
	if len(list.Instances) != 1 || list.Next != "" {
		t.Errorf("list: %+v", list)
	}
	var cfg api.ClientConfig
	testkit.Curl(t, "GET", m.URL+"/api/instances/srv_user123_abcd1234/client-config"+query+"&host_ip=192.168.1.20", "").Into(t, &cfg)
	if !strings.Contains(cfg.Config, "192.168.1.20:30000") {
		t.Errorf("client config for host_ip: %s", cfg.Config)
	}
	file := testkit.Curl(t, "GET", m.URL+"/api/instances/srv_user123_abcd1234/client-config"+query, "", "Accept: application/toml")
	if file.Header.Get("Content-Type") != "application/toml" || !strings.Contains(file.Body, "127.0.0.1:30000") {
		t.Errorf("client config as a file: %s %s", file.Header, file.Body)
	}
	if health := testkit.Curl(t, "GET", m.URL+"/health", ""); health.Status != http.StatusOK || !strings.Contains(health.Body, `"engine":"0.5.0"`) {
		t.Errorf("health: %d %s", health.Status, health.Body)
	}
	if gone := testkit.Curl(t, "DELETE", m.URL+"/api/instances/srv_user123_abcd1234"+query, ""); gone.Status != http.StatusNoContent {
		t.Errorf("delete: %d %s", gone.Status, gone.Body)
	}
	testkit.Curl(t, "DELETE", m.URL+"/api/instances/srv_user123_abcd1234"+query, "").MustBe(t, http.StatusNotFound, api.CodeInstanceNotFound)
}

func TestNothingWithoutTheToken(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	routes := []string{
		"POST /api/instances", "GET /api/instances", "GET /api/instances/x", "PUT /api/instances/x", "DELETE /api/instances/x",
		"GET /api/instances/x/client-config", "POST /api/instances/x/restart", "POST /api/instances/x/probe", "GET /api/instances/x/logs", "GET /api/ports",
		"GET /metrics", "GET /openapi.json", "GET /nowhere",
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(r, " ")
		for _, shown := range []string{"", "?token=wrong"} {
			p := testkit.Curl(t, method, m.URL+path+shown, "").MustBe(t, http.StatusUnauthorized, api.CodeUnauthorized)
			if strings.Contains(p.Detail, testkit.Token) {
				t.Errorf("%s tells the token", r)
			}
		}
	}
	for _, way := range []string{"Authorization: Bearer " + testkit.Token, "X-API-Token: " + testkit.Token} {
		if got := testkit.Curl(t, "GET", m.URL+"/api/instances", "", way); got.Status != http.StatusOK {
			t.Errorf("with %s: %d", way[:15], got.Status)
		}
	}
	for _, open := range []string{"/health", "/ready"} {
		if got := testkit.Curl(t, "GET", m.URL+open, ""); got.Status != http.StatusOK {
			t.Errorf("%s without a token: %d", open, got.Status)
		}
	}
	if got := testkit.Curl(t, "GET", m.URL+"/metrics", "", "X-API-Token: "+testkit.Token); !strings.Contains(got.Body, `rathole_manager_instances{status="healthy"} 0`) ||
		!strings.Contains(got.Body, `rathole_http_request_duration_seconds_count{code="401",component="manager",method="GET",route="/api/instances/{id}"}`) {
		t.Errorf("metrics: %s", got.Body)
	}
	if got := testkit.Curl(t, "GET", m.URL+"/openapi.json", "", "X-API-Token: "+testkit.Token); !strings.Contains(got.Body, `"/api/instances/{id}/client-config"`) {
		t.Errorf("openapi: %d %.200s", got.Status, got.Body)
	}
}

// TestBadInput sends what nobody should: every case is refused with a field, and nothing is written or started.
func TestBadInput(t *testing.T) {
	t.Parallel()
	m := testkit.StartManager(t, nil)
	auth := "Authorization: Bearer " + testkit.Token
	for name, tc := range map[string]struct {
		body  string
		field string
	}{
		"no server_id":               {`{"game_port": 30000}`, "body"},
		"path in server_id":          {`{"server_id": "../../etc", "game_port": 30000}`, "body.server_id"},
		"quotes in server_id":        {`{"server_id": "a\"b'c", "game_port": 30000}`, "body.server_id"},
		"65 characters":              {`{"server_id": "` + strings.Repeat("a", 65) + `", "game_port": 30000}`, "body.server_id"},
		"unicode":                    {`{"server_id": "srv_ü", "game_port": 30000}`, "body.server_id"},
		"newline":                    {`{"server_id": "a\nb", "game_port": 30000}`, "body.server_id"},
		"empty server_id":            {`{"server_id": "", "game_port": 30000}`, "body.server_id"},
		"no ports at all":            {`{"server_id": "a"}`, "body.game_port"},
		"port 0":                     {`{"server_id": "a", "game_port": 0}`, "body.game_port"},
		"port 70000":                 {`{"server_id": "a", "game_port": 70000}`, "body.game_port"},
		"negative port":              {`{"server_id": "a", "game_port": -1}`, "body.game_port"},
		"fraction of a port":         {`{"server_id": "a", "game_port": 30000.5}`, "body.game_port"},
		"control port":               {`{"server_id": "a", "game_port": 10001}`, "body.game_port"},
		"one port twice":             {`{"server_id": "a", "game_port": 30000, "beacon_port": 30000}`, "body.beacon_port"},
		"beacon without game":        {`{"server_id": "a", "beacon_port": 30000}`, "body.beacon_port"},
		"ports and services":         {`{"server_id": "a", "game_port": 30000, "services": {"q": {"protocols": ["udp"], "local_port": 1}}}`, "body.services"},
		"wrong type":                 {`{"server_id": "a", "game_port": "30000"}`, "body.game_port"},
		"unknown field":              {`{"server_id": "a", "game_port": 30000, "gameport": 1}`, "body.gameport"},
		"protocol that is none":      {`{"server_id": "a", "services": {"q": {"protocols": ["sctp"], "local_port": 1}}}`, "body.services"},
		"no protocol":                {`{"server_id": "a", "services": {"q": {"protocols": [], "local_port": 1}}}`, "body.services"},
		"local port 0":               {`{"server_id": "a", "services": {"q": {"protocols": ["udp"], "local_port": 0}}}`, "body.services"},
		"service name":               {`{"server_id": "a", "services": {"Q!": {"protocols": ["udp"], "local_port": 1}}}`, "body.services.Q!"},
		"two services on one port":   {`{"server_id": "a", "services": {"a": {"protocols": ["udp"], "local_port": 1, "public_port": 30000}, "b": {"protocols": ["udp", "tcp"], "local_port": 2, "public_port": 30000}}}`, "body.services.b.public_port"},
		"host_ip":                    {`{"server_id": "a", "game_port": 30000, "host_ip": "1.2.3"}`, "body.host_ip"},
		"host_ip with a config":      {`{"server_id": "a", "game_port": 30000, "host_ip": "x\"\n[server]"}`, "body.host_ip"},
		"agent_url":                  {`{"server_id": "a", "game_port": 30000, "agent_url": "ftp://x"}`, "body.agent_url"},
		"agent_url with a password":  {`{"server_id": "a", "game_port": 30000, "agent_url": "http://u:p@x"}`, "body.agent_url"},
		"probe without game_port":    {`{"server_id": "a", "probe": "a2s", "services": {"q": {"protocols": ["udp"], "local_port": 1}}}`, "body.probe"},
		"probe that is none":         {`{"server_id": "a", "game_port": 30000, "probe": "quake"}`, "body.probe"},
		"probe that asks nothing":    {`{"server_id": "a", "game_port": 30000, "probe": "none"}`, "body.probe"},
		"probe over UDP of TCP":      {`{"server_id": "a", "services": {"q": {"protocols": ["tcp"], "local_port": 1, "probe": "satisfactory"}}}`, "body.services.q.probe"},
		"probe over TCP of UDP":      {`{"server_id": "a", "services": {"q": {"protocols": ["udp"], "local_port": 1, "probe": "minecraft"}}}`, "body.services.q.probe"},
		"transport":                  {`{"server_id": "a", "game_port": 30000, "transport": "quic"}`, "body.transport"},
		"transport of another build": {`{"server_id": "a", "game_port": 30000, "transport": "tls"}`, "body.transport"},
		"no JSON":                    {`game_port=30000`, ""},
		"an array":                   {`[]`, "body"},
	} {
		t.Run(name, func(t *testing.T) {
			got := testkit.Curl(t, "POST", m.URL+"/api/instances", tc.body, auth)
			var p api.Problem
			got.Into(t, &p)
			if got.Status != http.StatusUnprocessableEntity && got.Status != http.StatusBadRequest || p.Code != api.CodeInvalidRequest {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
			if tc.field != "" && (len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Location, tc.field)) {
				t.Errorf("no error at %s: %s", tc.field, got.Body)
			}
		})
	}
	testkit.Curl(t, "POST", m.URL+"/api/instances", `{"server_id": "`+strings.Repeat("a", 2<<20)+`"}`, auth).MustBe(t, http.StatusRequestEntityTooLarge, api.CodeBodyTooLarge)
	testkit.Curl(t, "DELETE", m.URL+"/api/instances/..%2f..%2fetc", "", auth).MustBe(t, http.StatusUnprocessableEntity, api.CodeInvalidRequest)
	testkit.Curl(t, "PATCH", m.URL+"/api/instances/a", "{}", auth).MustBe(t, http.StatusNotFound, api.CodeNoSuchRoute)

	if left, err := os.ReadDir(filepath.Join(m.State, "instances")); err != nil || len(left) != 0 {
		t.Errorf("records are left: %v %v", left, err)
	}
	if ports, err := m.Ports(t.Context()); err != nil || ports.Control.Allocated != 0 || ports.Public.Allocated != 0 {
		t.Errorf("ports are left: %+v %v", ports, err)
	}
}
