package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

// authenticate lets a request pass that shows the token: in the Authorization header, or where the guide's callers put it
// (the query, the body, X-API-Token). The query's token is taken out before anybody can log it.
func (a *API) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, err := shownToken(r)
		if err != nil {
			WriteProblem(w, BodyProblem(err))
			return
		}
		if !a.cfg.Token.IsZero() && !isOpen(r.URL.Path) && !same(shown, a.cfg.Token.Reveal()) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="rathole"`)
			WriteProblem(w, &api.Problem{
				Status: http.StatusUnauthorized, Code: api.CodeUnauthorized,
				Detail: "this needs the API token: send Authorization: Bearer TOKEN (or X-API-Token, or token in the query or the JSON body)",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shownToken finds the token of a request; empty if there is none.
func shownToken(r *http.Request) (string, error) {
	query := r.URL.Query()
	fromQuery := query.Get("token")
	if query.Has("token") {
		query.Del("token")
		r.URL.RawQuery = query.Encode()
		r.RequestURI = r.URL.RequestURI()
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token), nil
	}
	if token := r.Header.Get("X-API-Token"); token != "" {
		return token, nil
	}
	if fromQuery != "" || r.ContentLength == 0 || isOpen(r.URL.Path) {
		return fromQuery, nil
	}
	return bodyToken(r)
}

// bodyToken reads the body for its token and puts it back. A body that is no JSON object has no token; what is wrong with
// it is said later, to those who may know.
func bodyToken(r *http.Request) (string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var b struct {
		Token string `json:"token"`
	}
	_ = json.Unmarshal(body, &b) // without a token in it, whatever it is
	return b.Token, nil
}

// same compares in a time that depends on neither value: the digests are equally long whatever was sent.
func same(shown, token string) bool {
	a, b := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// BodyProblem is the answer to a body that cannot be read.
func BodyProblem(err error) *api.Problem {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge()
	}
	return &api.Problem{Status: http.StatusBadRequest, Code: api.CodeInvalidRequest, Detail: "the body cannot be read"}
}
