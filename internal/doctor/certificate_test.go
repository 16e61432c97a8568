package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/doctor"
)

// certificate makes a PEM certificate that ends at a time, and its key.
func certificate(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	m, s := healthy()
	s.Listen, s.TLSCert, s.TLSKey = ":7001", "/c", "/k"
	for days, want := range map[int]doctor.Status{-1: doctor.Fail, 13: doctor.Warn, 15: doctor.OK} {
		m.files["/c"], m.files["/k"] = certificate(t, m.Now().AddDate(0, 0, days))
		if f := find(t, doctor.Common(t.Context(), m.System, s), "API protection"); f.Status != want {
			t.Errorf("%d days left: %+v", days, f)
		}
	}
	_, m.files["/k"] = certificate(t, m.Now().AddDate(1, 0, 0))
	if f := find(t, doctor.Common(t.Context(), m.System, s), "API protection"); f.Status != doctor.Fail {
		t.Errorf("another certificate's key: %+v", f)
	}
}
