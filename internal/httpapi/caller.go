package httpapi

import (
	"context"
	"net"
	"net/http"
)

type callerKey struct{}

// named puts the address of the caller's machine into the request's context. Behind a proxy it is the proxy's: what a
// header claims, anybody could.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		next.ServeHTTP(w, r.WithContext(CalledBy(r.Context(), host)))
	})
}

// CalledBy is ctx for work that a request has ordered and does not wait for.
func CalledBy(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// Caller is the address of the machine whose request a context belongs to; empty if it belongs to none.
func Caller(ctx context.Context) string {
	host, _ := ctx.Value(callerKey{}).(string)
	return host
}
