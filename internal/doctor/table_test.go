package doctor_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	"github.com/satishost/terraform-provider-rathole/internal/doctor"
)

func TestTable(t *testing.T) {
	t.Parallel()
	findings := []doctor.Finding{
		{Check: "engine", Status: doctor.OK, Value: "rathole 0.5.0"},
		{Check: "open files", Status: doctor.Warn, Value: "512", Mend: "raise\nit"},
	}
	var out bytes.Buffer
	if err := doctor.Report(&out, doctor.Table, findings); err != nil {
		t.Error(err)
	}
	const want = `CHECK       STATUS  VALUE          MEND
engine      ok      rathole 0.5.0
open files  warn    512            raise it
`
	if out.String() != want {
		t.Errorf("it prints\n%s", out.String())
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	findings := []doctor.Finding{{Check: "engine", Status: doctor.Fail, Value: "none", Mend: "install > it"}}
	var out bytes.Buffer
	if err := doctor.Report(&out, doctor.JSON, findings); err == nil {
		t.Error("a failed check is no error")
	}
	if !bytes.Contains(out.Bytes(), []byte("install > it")) {
		t.Errorf("it prints %s", out.String())
	}
	var got map[string][]doctor.Finding
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !reflect.DeepEqual(got["checks"], findings) {
		t.Errorf("%v %+v", err, got)
	}
}

func TestOnlyFailuresFail(t *testing.T) {
	t.Parallel()
	ok, warn, fail := doctor.Finding{Status: doctor.OK}, doctor.Finding{Status: doctor.Warn}, doctor.Finding{Status: doctor.Fail}
	for want, findings := range map[string][]doctor.Finding{
		"":                {ok, warn},
		"1 check failed":  {ok, fail},
		"2 checks failed": {fail, warn, fail},
	} {
		said := ""
		if err := doctor.Report(io.Discard, doctor.Table, findings); err != nil {
			said = err.Error()
		}
		if said != want {
			t.Errorf("%q, wanted %q", said, want)
		}
	}
}
