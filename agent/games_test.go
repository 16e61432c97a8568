package agent

import "testing"

// TestGameSocket shows looks at one game's port, one after the other.
func TestGameSocket(t *testing.T) {
	t.Parallel()
	type look struct {
		inodes []uint64
		flows  bool
	}
	for name, c := range map[string]struct {
		looks []look
		due   bool
	}{
		"first start":                         {[]look{{nil, false}, {[]uint64{1}, false}, {[]uint64{1}, true}}, false},
		"first start under players":           {[]look{{nil, true}, {nil, true}, {[]uint64{1}, true}}, false},
		"gone and back under players":         {[]look{{[]uint64{1}, true}, {nil, false}, {nil, false}, {[]uint64{2}, false}}, true},
		"gone and back, players while away":   {[]look{{[]uint64{1}, false}, {nil, true}, {nil, false}, {[]uint64{2}, false}}, true},
		"gone and back, nobody there":         {[]look{{[]uint64{1}, false}, {nil, false}, {[]uint64{2}, false}, {[]uint64{2}, true}}, false},
		"players had left before":             {[]look{{[]uint64{1}, true}, {[]uint64{1}, false}, {nil, false}, {[]uint64{2}, false}}, false},
		"another socket between two looks":    {[]look{{[]uint64{1}, true}, {[]uint64{2}, true}}, true},
		"another socket, nobody there":        {[]look{{[]uint64{1}, false}, {[]uint64{2}, true}}, false},
		"a second socket beside the first":    {[]look{{[]uint64{1}, true}, {[]uint64{1, 2}, true}, {[]uint64{2}, true}}, false},
		"restarted twice before it is mended": {[]look{{[]uint64{1}, true}, {[]uint64{2}, false}, {[]uint64{3}, false}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &gameSocket{}
			for _, l := range c.looks {
				s.observe(l.inodes, l.flows)
			}
			if s.due != c.due {
				t.Errorf("due is %v", s.due)
			}
		})
	}
}
