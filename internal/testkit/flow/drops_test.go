package flow

import "testing"

func TestParseDrops(t *testing.T) {
	t.Parallel()
	const two = "00ec2498 00002501 00000004 00000000\n00c9a6d8 000030c0 00000001 00000000\n"
	for text, want := range map[string]int{"": 0, "nonsense\n": 0, "00000001 zz\n": 0, two: 0x2501 + 0x30c0} {
		if got := parseDrops(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
