package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/httpapi"
)

// acceptTOML lets a config be pushed as the file that the manager gives: a body of application/toml stands for the JSON
// body that holds it.
func acceptTOML(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/toml" {
			next.ServeHTTP(w, r)
			return
		}
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, httpapi.MaxBody))
		if err != nil {
			httpapi.WriteProblem(w, httpapi.BodyProblem(err))
			return
		}
		body, err := json.Marshal(api.ConfigureClient{ClientConfig: string(text)})
		if err != nil {
			httpapi.WriteProblem(w, httpapi.BodyProblem(err))
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	})
}
