package authcmd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

func (d *doctor) checkSigningKeys() {
	tokens := d.Config.Tokens
	longest := cmp.Or(tokens.MaxLifetime, max(tokens.Lifetime, 12*time.Hour))
	for i, key := range d.Config.SigningKeys {
		info := key.Info()
		switch {
		case i == 0 && info.Algorithm == "HS256" && len(tokens.Audiences) > 0:
			d.add("signing-keys", "Sign with an ES256 or EdDSA key. Other services then verify tokens "+
				"with its public half.", "The signing key %s is weak: it is an HS256 key, and there are "+
				"Audiences, so other services need its secret and could make tokens for any "+
				"user.", info.ID)
		case info.RetiredAt.After(d.now()):
			d.add("signing-keys", "Set the time at which the last instance stopped to sign with the key.",
				"The signing key %s is retired at %s, which is in the future.", info.ID, date(info.RetiredAt))
		case !info.RetiredAt.IsZero() && d.now().Sub(info.RetiredAt) > longest:
			d.add("signing-keys", "Remove the key from SigningKeys.", "The signing key %s was retired "+
				"at %s, and its last token has expired.", info.ID, date(info.RetiredAt))
		}
	}
}

// maxKeyAge is the age at which a key should be replaced: the longer a key is in use, the more copies of it
// exist.
const maxKeyAge = 365 * 24 * time.Hour

// checkKeyAges checks the keys that make new signatures and ciphertexts. It cannot check a key if the host
// does not know when the key was made. It does not check peppers, because an old pepper can be removed only
// after every user has signed in.
func (d *doctor) checkKeyAges() {
	if d.KeyCreatedAt == nil {
		return
	}
	check := func(name, kind string, key auth.KeyInfo) {
		made := d.KeyCreatedAt(key)
		if age := d.now().Sub(made); !made.IsZero() && age > maxKeyAge {
			d.add(name, "Replace the key: docs/replace-keys.md says how.",
				"The %s %s is in use, and was made %d days ago, at %s.", kind, key.ID, age/(24*time.Hour),
				date(made))
		}
	}
	if keys := d.Config.SigningKeys; len(keys) > 0 {
		check("signing-keys", "signing key", keys[0].Info())
	}
	if keys := d.Config.SealingKeys; len(keys) > 0 {
		check("sealing-keys", "sealing key", keys[0].Info())
	}
}

// checkSharedKeys finds a secret that is used for two purposes or has two IDs. An attacker who learns it in
// one place can use it in the other.
func (d *doctor) checkSharedKeys() {
	places := map[string]string{} // by fingerprint
	check := func(info auth.KeyInfo, format string, args ...any) {
		place := fmt.Sprintf(format, args...)
		if info.Fingerprint == "" {
			return
		}
		if other, ok := places[info.Fingerprint]; ok {
			d.add("shared-keys", "Make a new key for each purpose, and replace one of the two: "+
				"docs/replace-keys.md says how.",
				"%s and %s have the same secret.", other, place)
			return
		}
		places[info.Fingerprint] = place
	}
	for i, key := range d.Config.SigningKeys {
		check(key.Info(), "SigningKeys[%d]", i)
	}
	for i, key := range d.Config.SealingKeys {
		check(key.Info(), "SealingKeys[%d]", i)
	}
	for i, key := range d.Config.Credentials.Peppers {
		check(key.Info(), "Credentials.Peppers[%d]", i)
	}
}

func (d *doctor) checkProxies() {
	if reflect.ValueOf(d.Config.Proxies).IsZero() {
		d.add("proxies", "Set Proxies to NoProxies(), or to TrustProxies with the networks of your proxies.",
			"Proxies is not set. Behind a proxy, all clients share one budget of failed sign-ins.")
	}
}

func (d *doctor) checkURLs() {
	public := d.Config.PublicURL
	if github := d.Config.GitHub; github != nil {
		public = cmp.Or(public, github.CallbackURL)
		if github.InsecureCookies {
			d.add("cookies", "Serve the pages with https, and remove InsecureCookies.",
				"GitHub.InsecureCookies is set, so an attacker who reads the traffic can sign in as any "+
					"user.")
		}
		if github.InsecureUnboundState {
			d.add("github-state", "Remove InsecureUnboundState, unless a program on the machine of the "+
				"user completes the sign-in.", "GitHub.InsecureUnboundState is set, so an attacker can "+
				"sign a person in as the attacker.")
		}
	}
	issuer, err := url.Parse(d.Config.Issuer)
	if d.failed("issuer", err) {
		return
	}
	if issuer.Scheme == "http" && !isLoopback(issuer) {
		d.add("issuer", "Serve the calls with https, and change Issuer. All users must then sign in again.",
			"Issuer is %s, so an attacker who reads the traffic can read tokens.", d.Config.Issuer)
	}
	if origin, err := url.Parse(public); public != "" && !d.failed("cookies", err) && isLoopback(origin) &&
		!isLoopback(issuer) {
		d.add("cookies", "Set PublicURL to the origin that browsers show.", "The origin of the cookies "+
			"is %s://%s, which only browsers on the same machine reach, and Issuer is "+
			"%s.", origin.Scheme, origin.Host, d.Config.Issuer)
	}
}

func isLoopback(u *url.URL) bool {
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && address.IsLoopback()
}

// checkSwitches checks settings that turn a protection off.
func (d *doctor) checkSwitches() {
	if d.Config.Throttling.Off {
		d.add("throttling", "Remove Throttling.Off, unless a program in front of the service limits "+
			"sign-ins.",
			"Throttling.Off is set, so clients can try any number of secrets.")
	}
	if _, ok := d.Store.(auth.EventStore); !ok || d.Config.DisableAuditTrail {
		d.add("audit-trail", "Remove DisableAuditTrail, and use a store that is an EventStore.",
			"There is no audit trail, so nobody can find out who made a change.")
	}
}

func (d *doctor) checkPeppers(ctx context.Context) {
	counts, err := d.Service.Credentials().CountByPepper(ctx)
	if d.failed("peppers", err) {
		return
	}
	ring := pepperIDs(d.Config)
	if len(ring) == 0 {
		ring = []string{noPepperID}
	}
	for _, id := range slices.Sorted(maps.Keys(counts.ByPepper)) {
		if count := counts.ByPepper[id]; count > 0 && !slices.Contains(ring, id) {
			d.add("peppers", "Add the pepper to the end of Credentials.Peppers again. If it is lost, "+
				"give the users new keys.", "%s because Credentials.Peppers lacks %s.",
				quantity(count, "access key does not work,", "access keys do not work,"), pepperName(id))
		}
	}
	for i, id := range ring[1:] {
		if counts.ByPepper[id] == 0 && (id != noPepperID || counts.Imported == 0) {
			d.add("peppers", "Remove it from the list. If it is new, move it to the front instead.",
				"No access key needs %s, which is Credentials.Peppers[%d].", pepperName(id), i+1)
		}
	}
	if counts.Imported > 0 && (!d.Config.Credentials.AllowImported || !slices.Contains(ring, noPepperID)) {
		d.add("imported-keys", "Set Credentials.AllowImported, and add NoPepper() to the end of "+
			"Credentials.Peppers.",
			"%s because the configuration does not accept imported keys.", quantity(counts.Imported,
				"imported access key does not work,", "imported access keys do not work,"))
	}
	if counts.Unreadable > 0 {
		d.add("key-hashes", "Find out which program wrote the hashes, and give the owners of the keys "+
			"new ones.",
			"%s a hash of an unknown form, which no secret "+
				"matches.", quantity(counts.Unreadable, "access key has",
				"access keys have"))
	}
}

func pepperName(id string) string {
	if id == noPepperID {
		return "NoPepper()"
	}
	return fmt.Sprintf("the pepper with the ID %q", id)
}

func (d *doctor) checkSealingKeys(ctx context.Context) {
	github := d.Config.GitHub
	if github == nil {
		return
	}
	known := map[string]bool{}
	for _, key := range d.Config.SealingKeys {
		known[key.Info().ID] = true
	}
	missing := map[string]int{}
	for after := ""; ; {
		page, err := d.Store.ListGitHubTokens(ctx, githubHost(github), after, pageSize)
		if d.failed("sealing-keys", err) {
			return
		}
		for _, token := range page {
			if id := token.SealingKeyID(); !known[id] {
				missing[id]++
			}
		}
		if len(page) < pageSize {
			break
		}
		after = page[len(page)-1].UserID
	}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		d.add("sealing-keys", "Add the key to the end of SealingKeys again. If it is lost, the users "+
			"must connect GitHub again.", "%s cannot be decrypted, because SealingKeys lacks the key "+
			"with the ID %q.",
			counted(missing[id], "GitHub token"), id)
	}
}

// githubHost returns the Host of the configuration or its default.
func githubHost(github *auth.GitHubConfig) string {
	if github.Host != "" {
		return github.Host
	}
	base, err := url.Parse(cmp.Or(github.BaseURL, "https://github.com"))
	if err != nil {
		return ""
	}
	return auth.FoldASCII(base.Host)
}
