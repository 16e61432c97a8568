package httpapi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// Token decides a service's API token: the given one, else what file holds, else what <state>/token holds, else a random
// one that is written there (0600). place is the file that has it, empty for a given token.
func Token(given, file, state string) (token secret.String, place string, err error) {
	if given = strings.TrimSpace(given); given != "" {
		return secret.New(given), "", nil
	}
	if file != "" {
		token, err = readToken(file)
		return token, file, err
	}
	place = filepath.Join(state, "token")
	token, err = readToken(place)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, place, err
	}
	token = secret.Random()
	err = os.WriteFile(place+".next", []byte(token.Reveal()+"\n"), 0o600)
	if err == nil {
		err = os.Rename(place+".next", place) // half a token must never be found
	}
	if err != nil {
		return secret.String{}, "", fmt.Errorf("write the generated token: %w", err)
	}
	return token, place, nil
}

func readToken(file string) (secret.String, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return secret.String{}, fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return secret.String{}, fmt.Errorf("read the token: %s is empty", file)
	}
	return secret.New(token), nil
}
