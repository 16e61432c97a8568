package obtain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	goodTofu = "#!/bin/sh\necho '{\"terraform_version\": \"1.12.6\"}'\n"
	oldTofu  = "#!/bin/sh\necho '{\"terraform_version\": \"1.11.4\"}'\n"
)

// A go that builds what it was asked for, if it was asked in the right way.
const goodGo = `#!/bin/sh
if [ "$1" = env ]; then echo "$ROOT_OF_THIS_TEST/go.mod"; exit; fi
case "$*" in "build -modfile=tools/tofu/go.mod "*" github.com/opentofu/opentofu/cmd/tofu") ;; *) echo "asked: $*" >&2; exit 9;; esac
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\necho "{\\"terraform_version\\": \\"1.12.6\\"}"\n' >"$2"; chmod 755 "$2"
`

func TestTofuOfTheMachineIsUsed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	want := l.has(t, "tofu", goodTofu)
	if got, err := Tofu(t.Context(), l.Options); err != nil || got != want {
		t.Errorf("got %q, %v, want %s", got, err, want)
	}
}

func TestTofuIsBuilt(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.has(t, "tofu", oldTofu)
	compiler := l.has(t, "go", strings.ReplaceAll(goodGo, "$ROOT_OF_THIS_TEST", t.TempDir()))
	got, err := Tofu(t.Context(), l.Options)
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, l.said.String(), "passed over", "1.11.4", "building tofu 1.12.6")
	if cached := l.cached(t); len(cached) != 2 || filepath.Join(l.CacheDir, cached[0]) != got {
		t.Errorf("in the cache: %v, path %s", cached, got)
	}
	if err := os.Remove(compiler); err != nil { // and from now on from the cache
		t.Fatal(err)
	}
	if again, err := Tofu(t.Context(), l.Options); err != nil || again != got {
		t.Errorf("second time: %q, %v, want %q", again, err, got)
	}
}

func TestTofuNowhereToBeHadSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ compiler, want string }{
		"no go":          {"", "go is not in PATH"},
		"go fails":       {"#!/bin/sh\n[ $1 = env ] && echo /tmp/go.mod && exit\necho 'undefined: hcl.Functions' >&2\nexit 1\n", "undefined: hcl.Functions"},
		"no module":      {"#!/bin/sh\nexit 3\n", "go env GOMOD"},
		"builds nothing": {"#!/bin/sh\n[ $1 = env ] && echo /tmp/go.mod\nexit 0\n", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if test.compiler != "" {
				l.has(t, "go", test.compiler)
			}
			_, err := Tofu(t.Context(), l.Options)
			if err == nil {
				t.Fatal("no error")
			}
			mustContain(t, err.Error(), "no tofu", "1.12.0", "1.12.6", "install one", test.want)
			if cached := l.cached(t); len(cached) != 0 {
				t.Errorf("in the cache: %v", cached)
			}
		})
	}
}

func TestPinnedTofuIsWhatIsBuilt(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../tools/tofu/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, string(text), "github.com/opentofu/opentofu v"+pinnedTofu+" ")
}
