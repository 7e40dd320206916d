// Package benchmarks compares the middleware of this library with that of other libraries. It is a
// separate module, so that importers of the library do not get the dependencies of the benchmarks.
//
// The other libraries are configured to make the same checks as this library. They check the
// signature, the algorithm, and the claims iss, aud, exp and nbf. A test verifies this. Only this
// library also detects that a session was revoked.
package benchmarks

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v3"
	auth0 "github.com/auth0/go-jwt-middleware/v3"
	auth0validator "github.com/auth0/go-jwt-middleware/v3/validator"
	cristalhq "github.com/cristalhq/jwt/v5"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	kataras "github.com/kataras/jwt"
	jwx "github.com/lestrrat-go/jwx/v2/jwt"
)

// The issuer and the audience of every token in the benchmarks.
const (
	Issuer   = "https://api.example.com"
	Audience = "https://api.example.com"
)

// Keys holds a key for each algorithm.
type Keys struct {
	HS256 []byte
	ES256 *ecdsa.PrivateKey
	EdDSA ed25519.PrivateKey
}

// public returns the key that verifies tokens of the algorithm.
func (k Keys) public(alg string) any {
	switch alg {
	case "HS256":
		return k.HS256
	case "ES256":
		return &k.ES256.PublicKey
	}
	return k.EdDSA.Public().(ed25519.PublicKey)
}

// private returns the key that signs tokens of the algorithm.
func (k Keys) private(alg string) any {
	switch alg {
	case "HS256":
		return k.HS256
	case "ES256":
		return k.ES256
	}
	return k.EdDSA
}

// claims are the claims of a token of this library.
type claims struct {
	jwt.RegisteredClaims
	Username    string `json:"username"`
	IsSuperUser bool   `json:"is_super_user"`
}

// Middleware wraps a handler and passes only requests with a valid token to the handler.
type Middleware func(http.Handler) http.Handler

// peers maps the name of each library to a function that creates its middleware. The function
// returns nil if the library does not support the algorithm.
var peers = map[string]func(k Keys, alg string) (Middleware, error){
	"golang-jwt":           GolangJWT,
	"cristalhq":            cristalhqJWT,
	"kataras":              katarasJWT,
	"jwtauth":              chiJWTAuth,
	"auth0":                auth0JWT,
	"gin-jwt":              ginJWT,
	"golang-jwt and cache": cachedJWT,
}

// bearer returns the token of the request.
func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

type callerKey struct{}

// byHand returns a middleware like the one that a user of a token library would write. The
// parameter verify is a function that verifies the token with the library.
func byHand(verify func(token string) (caller any, err error)) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			caller, err := verify(bearer(r))
			if err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
		})
	}
}

// parseGolangJWT returns a function that verifies a token with golang-jwt.
func parseGolangJWT(k Keys, alg string) func(string) (*claims, error) {
	public := k.public(alg)
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(Issuer),
		jwt.WithAudience(Audience), jwt.WithExpirationRequired())
	return func(token string) (*claims, error) {
		var c claims
		_, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) {
			return public, nil
		})
		return &c, err
	}
}

// GolangJWT returns a middleware that verifies tokens with golang-jwt.
func GolangJWT(k Keys, alg string) (Middleware, error) {
	parse := parseGolangJWT(k, alg)
	return byHand(func(token string) (any, error) { return parse(token) }), nil
}

func cristalhqJWT(k Keys, alg string) (Middleware, error) {
	var verifier cristalhq.Verifier
	var err error
	switch alg {
	case "HS256":
		verifier, err = cristalhq.NewVerifierHS(cristalhq.HS256, k.HS256)
	case "ES256":
		verifier, err = cristalhq.NewVerifierES(cristalhq.ES256, &k.ES256.PublicKey)
	default:
		verifier, err = cristalhq.NewVerifierEdDSA(k.EdDSA.Public().(ed25519.PublicKey))
	}
	return byHand(func(token string) (any, error) {
		var c struct {
			cristalhq.RegisteredClaims
			Username    string `json:"username"`
			IsSuperUser bool   `json:"is_super_user"`
		}
		if err := cristalhq.ParseClaims([]byte(token), verifier, &c); err != nil {
			return nil, err
		}
		if now := time.Now(); !c.IsValidExpiresAt(now) || !c.IsValidNotBefore(now) ||
			!c.IsIssuer(Issuer) || !c.IsForAudience(Audience) {
			return nil, errors.New("claims")
		}
		return &c, nil
	}), err
}

func katarasJWT(k Keys, alg string) (Middleware, error) {
	method := map[string]kataras.Alg{"HS256": kataras.HS256, "ES256": kataras.ES256,
		"EdDSA": kataras.EdDSA}[alg]
	public := k.public(alg)
	expected := kataras.Expected{Issuer: Issuer, Audience: kataras.Audience{Audience}}
	return byHand(func(token string) (any, error) {
		verified, err := kataras.Verify(method, public, []byte(token), expected)
		if err != nil {
			return nil, err
		}
		var c struct {
			Username    string `json:"username"`
			IsSuperUser bool   `json:"is_super_user"`
		}
		return &c, verified.Claims(&c)
	}), nil
}

func chiJWTAuth(k Keys, alg string) (Middleware, error) {
	a := jwtauth.New(alg, k.private(alg), k.public(alg), jwx.WithIssuer(Issuer),
		jwx.WithAudience(Audience))
	verify, authenticate := jwtauth.Verify(a, jwtauth.TokenFromHeader), jwtauth.Authenticator(a)
	return func(next http.Handler) http.Handler { return verify(authenticate(next)) }, nil
}

func auth0JWT(k Keys, alg string) (Middleware, error) {
	public := k.public(alg)
	v, err := auth0validator.New(
		auth0validator.WithKeyFunc(func(context.Context) (any, error) { return public, nil }),
		auth0validator.WithAlgorithm(auth0validator.SignatureAlgorithm(alg)),
		auth0validator.WithIssuer(Issuer), auth0validator.WithAudience(Audience))
	if err != nil {
		return nil, err
	}
	middleware, err := auth0.New(auth0.WithValidator(v))
	if err != nil {
		return nil, err
	}
	return middleware.CheckJWT, nil
}

// ginJWT returns the middleware of gin-jwt. gin-jwt supports only symmetric and RSA keys. gin-jwt
// does not check iss and aud, so the function Authorizer checks them.
func ginJWT(k Keys, alg string) (Middleware, error) {
	if alg != "HS256" {
		return nil, nil
	}
	middleware, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Realm: "benchmark", Key: k.HS256, SigningAlgorithm: alg, IdentityKey: "sub",
		Timeout: 12 * time.Hour,
		Authorizer: func(c *gin.Context, _ any) bool {
			claims := ginjwt.ExtractClaims(c)
			return claims["iss"] == Issuer && claims["aud"] == Audience
		},
		Unauthorized: func(c *gin.Context, code int, _ string) { c.Status(code) },
	})
	if err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		engine := gin.New()
		engine.GET("/", middleware.MiddlewareFunc(), func(c *gin.Context) {
			next.ServeHTTP(c.Writer, c.Request)
		})
		return engine
	}, nil
}

// algorithms are the algorithms of this library.
var algorithms = []string{"HS256", "ES256", "EdDSA"}
