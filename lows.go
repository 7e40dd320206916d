package auth

import (
	"crypto/elliptic"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

// lowS is ES256 with one signature per message and nonce. Where (r, s) verifies,
// (r, n-s) does too, and anybody can compute it: a second spelling of a token.
// Of the two, the one with the smaller s counts.
type lowS struct {
	*jwt.SigningMethodECDSA
}

var (
	curveOrder     = elliptic.P256().Params().N
	halfCurveOrder = new(big.Int).Rsh(curveOrder, 1)
)

func (m lowS) Sign(text string, key any) ([]byte, error) {
	signature, err := m.SigningMethodECDSA.Sign(text, key)
	if err != nil {
		return nil, err
	}
	half := signature[len(signature)/2:]
	if s := new(big.Int).SetBytes(half); s.Cmp(halfCurveOrder) > 0 {
		s.Sub(curveOrder, s).FillBytes(half)
	}
	return signature, nil
}

func (m lowS) Verify(text string, signature []byte, key any) error {
	if err := m.SigningMethodECDSA.Verify(text, signature, key); err != nil {
		return err
	}
	if new(big.Int).SetBytes(signature[len(signature)/2:]).Cmp(halfCurveOrder) > 0 {
		return jwt.ErrTokenSignatureInvalid
	}
	return nil
}
