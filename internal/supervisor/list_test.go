package supervisor_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/supervisor"
)

// TestListShowsEachChange holds the list, which is kept as long as nothing changes, to what each order has made of the units.
func TestListShowsEachChange(t *testing.T) {
	t.Parallel()
	s := newHouse(t).open(nil)
	shows := func(want ...string) {
		t.Helper()
		var got []string
		for _, v := range s.List() {
			got = append(got, fmt.Sprintf("%s %d %s %s", v.Record.ID, v.Record.Revision, v.Phase, v.Hints["seen"]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
	}
	shows()
	s.mustCreate(t, "two", "run")
	shows("two 1 running ")
	s.mustCreate(t, "one", "run")
	shows("one 1 running ", "two 1 running ")
	if _, err := s.Update(t.Context(), "one", 1, supervisor.Draft[extra]{Desired: supervisor.Stopped, Config: "run"}); err != nil {
		t.Fatal(err)
	}
	shows("one 2 stopped ", "two 1 running ")
	if err := s.SetHint(t.Context(), "two", "seen", "yes"); err != nil {
		t.Fatal(err)
	}
	shows("one 2 stopped ", "two 1 running yes")
	first, second := s.List(), s.List()
	if &first[0] != &second[0] {
		t.Error("nothing has changed, and it is listed anew")
	}
	if err := s.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	shows("two 1 running yes")
	if len(first) != 2 {
		t.Error("a list that somebody has was changed")
	}
}
