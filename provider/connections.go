package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/keyed"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// errNotKnown says that a provider attribute depends on what an apply has yet to make.
var errNotKnown = errors.New("it is known only after apply")

// connections holds the provider's configuration and makes clients from it when one is needed. One lives as long as one
// walk of Terraform (a plan or an apply), so what it remembers is about one run.
type connections struct {
	managerURL, token, agentToken types.String
	tokens                        map[string]types.String // by canonical agent URL
	tokensUnknown                 bool
	forceDestroy                  types.Bool
	userAgent                     string
	limits                        limits
	transport                     http.RoundTripper

	turns   keyed.Mutex // of ids, for creates and destroys
	unasked atomic.Bool // the manager did not give its opinion of one plan, so it is asked for that of no other

	mu       sync.Mutex
	mgr      *client.Manager
	agents   map[string]*agent // by canonical URL
	warned   map[string]bool
	replaced map[string]string
	created  map[string]bool // ids that a create of this run made or adopted
}

// manager gives the client of the manager.
func (c *connections) manager() (*client.Manager, error) {
	switch {
	case c.managerURL.IsUnknown():
		return nil, fmt.Errorf("the provider's manager_url cannot be used: %w", errNotKnown)
	case c.token.IsUnknown():
		return nil, fmt.Errorf("the provider's token cannot be used: %w", errNotKnown)
	case c.managerURL.IsNull():
		return nil, errors.New("the provider's manager_url is not set: set it in the provider block, or set " + envManagerURL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mgr != nil {
		return c.mgr, nil
	}
	mgr, err := client.NewManager(c.config(c.managerURL.ValueString(), c.token.ValueString()))
	if err != nil {
		return nil, err
	}
	c.mgr = mgr
	return mgr, nil
}

// agent gives the client of the agent at a URL.
func (c *connections) agent(url string) (*agent, error) {
	key := canonical(url)
	token, err := c.agentTokenFor(key)
	if err != nil {
		return nil, fmt.Errorf("agent %s cannot be asked: %w", url, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.agents[key]; ok {
		return a, nil
	}
	a, err := client.NewAgent(c.config(url, token))
	if err != nil {
		return nil, err
	}
	c.agents[key] = &agent{Agent: a, patience: c.limits.agentRead}
	return c.agents[key], nil
}

func (c *connections) config(url, token string) client.Config {
	return client.Config{URL: url, Token: secret.New(token), UserAgent: c.userAgent, Transport: c.transport}
}

// agentTokenFor takes the most specific token. One that is not known yet is never passed over for a more general one,
// which would be shown to a host that it is not meant for.
func (c *connections) agentTokenFor(url string) (string, error) {
	if c.tokensUnknown {
		return "", fmt.Errorf("agent_tokens: %w", errNotKnown)
	}
	named := []struct {
		name  string
		value types.String
	}{{"its token in agent_tokens", c.tokens[url]}, {"agent_token", c.agentToken}, {"token", c.token}}
	for _, t := range named {
		if t.value.IsUnknown() {
			return "", fmt.Errorf("%s: %w", t.name, errNotKnown)
		}
		if !t.value.IsNull() {
			return t.value.ValueString(), nil
		}
	}
	return "", nil
}

// first tells whether a warning of that key is the first of this run: a thousand resources on one dead host need one.
func (c *connections) first(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.warned[key]
	c.warned[key] = true
	return !seen
}

// willReplace remembers that an id, if this run should create it, takes the place of an instance in the state. Terraform
// plans a replacement as a plain creation, without the prior state, after it has refreshed and planned the change.
func (c *connections) willReplace(id, old string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replaced[id] = old
}

// replaces gives the instance whose place a new one takes; empty if none.
func (c *connections) replaces(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replaced[id]
}

// hold waits until no other create or destroy of an id is under way in this run, and keeps others waiting until it is
// released. One run may have both, in no order: a resource without a moved block is destroyed under its old address and
// created under its new one.
func (c *connections) hold(ctx context.Context, id string) (release func(), err error) {
	release, err = c.turns.Await(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("another resource of this run is still at work on instance %s: %w", id, err)
	}
	return release, nil
}

// wasCreated remembers that a create of this run has made or adopted an id. Whoever asks holds that id.
func (c *connections) wasCreated(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.created[id] = true
}

// isNew tells whether an instance is what a create of this run has made or adopted.
func (c *connections) isNew(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.created[id]
}

// canonical makes URLs that differ only by a slash at the end or by case of scheme the same key.
func canonical(url string) string {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		return url
	}
	return strings.ToLower(scheme) + "://" + strings.TrimRight(rest, "/")
}
