package rathole

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// NoisePattern is rathole's default handshake and the only one accepted: the client knows the server's public key, and a
// client proves itself by its token.
const NoisePattern = "Noise_NK_25519_ChaChaPoly_BLAKE2s"

// GenerateNoiseKeys makes an X25519 pair as `rathole --genkey` does, in standard base64: the private half is a server's
// local_private_key, the public half its client's remote_public_key.
func GenerateNoiseKeys() (private secret.String, public string, err error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return secret.String{}, "", fmt.Errorf("generate noise key: %w", err)
	}
	private = secret.New(base64.StdEncoding.EncodeToString(key.Bytes()))
	return private, base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()), nil
}

// validNoiseKey tells whether s is what rathole decodes to a key of the right length. With bad base64 it aborts; with
// another length it listens, and no client ever connects. The length is checked as text too, because Go's decoder skips
// line breaks and rathole's does not.
func validNoiseKey(s string) bool {
	key, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil && len(key) == 32 && len(s) == base64.StdEncoding.EncodedLen(32)
}
