// Package weburl checks and compares the URLs of a configuration. It finds the origin of a URL. It tells
// whether other people could read a request to a URL, and whether a URL can be the name of an issuer.
package weburl

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/sallyport-go/auth/internal/text"
)

// IsSecure reports whether the data that is sent to the URL stays secret from other people. The
// scheme must be https, or it must be http and the host must be loopback. Traffic to a loopback
// host does not leave the machine.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && IsLoopback(u.Hostname())
}

// HasSecureOrigin is [IsSecure] for the text of a URL.
func HasSecureOrigin(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err == nil && IsSecure(u)
}

// IsLoopback reports whether the host is a loopback address or localhost. The letter case of a host
// does not matter (RFC 3986, section 3.2.2).
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return text.FoldASCII(host) == "localhost" || ip != nil && ip.IsLoopback()
}

// Origin returns the origin of a URL as browsers write it: scheme and host in lower case, without
// the default port of the scheme. It returns "" if the URL cannot be parsed.
func Origin(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return ""
	}
	host := text.FoldASCII(u.Host)
	if port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return u.Scheme + "://" + host
}

// Path returns the path of a URL, in the form in which a browser sends it. It returns "/" if the URL
// has no path or cannot be parsed.
func Path(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Path == "" {
		return "/"
	}
	return u.EscapedPath()
}

// IsOrigin reports whether the text is an http or https origin in the form that browsers send. A text in
// another form, such as https://example.com: or a name that is not in ASCII, equals no Origin header.
func IsOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || Origin(text) != text ||
		strings.ContainsFunc(u.Host,
			func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '*' || r == '%' }) {
		return false
	}
	host, port := u.Host, u.Port()
	if port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || strconv.FormatUint(number, 10) != port {
			return false
		}
		host = strings.TrimSuffix(host, ":"+port)
	}
	if address, isIPv6 := strings.CutPrefix(host, "["); isIPv6 {
		ip, err := netip.ParseAddr(strings.TrimSuffix(address, "]"))
		return err == nil && "["+ip.String()+"]" == host
	}
	return host != "" && !strings.Contains(host, ":")
}

// FoldHost returns the URL with its scheme and its host in lower case, so that URLs can be compared byte
// for byte. Text without "://" stays as it is.
func FoldHost(rawURL string) string {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	return text.FoldASCII(scheme+"://"+rest[:end]) + rest[end:]
}

// IssuerFlaw returns the rule that the text breaks as the name of an issuer of tokens, or "" if it breaks
// none. An issuer is an http or https URL without a user, a query and a fragment (RFC 8414, section
// 2). Issuers are compared byte for byte, so a URL must have its usual spelling: no slash at the end,
// scheme and host in lower case, and no default port. The result continues a sentence that begins
// with the name of the setting. It contains nothing of the text, because a URL can contain a password.
func IssuerFlaw(issuer string) string {
	const example = " such as https://api.example.com"
	if issuer == "" {
		return "is required: it is the URL of the service that issues the tokens," + example
	}
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return "must be an http or https URL" + example
	case u.User != nil:
		return "must be a URL" + example + ", without a user"
	case strings.ContainsAny(issuer, "?#"):
		return "must be a URL" + example + ", without a query and a fragment"
	case strings.HasSuffix(issuer, "/"):
		return "must be a URL" + example + ", without a trailing slash"
	case u.String() != issuer, u.Scheme+"://"+u.Host != Origin(issuer), strings.HasSuffix(u.Host, ":"),
		u.Path != "" && path.Clean(u.Path) != u.Path:
		return "must be a URL" + example + ", in ASCII, with scheme and host in lower case, without a " +
			"default port, and without the path segments \".\" and \"..\""
	}
	return ""
}

// maxMetadata is the maximum length of the URL of a resource's metadata, in bytes. Each 401 contains the URL.
const maxMetadata = 512

// MetadataFlaw returns the rule that the text breaks as the URL of a resource's metadata (RFC 9728, section
// 3), or "" if it breaks none. The URL must fit between the quotation marks of a challenge as it is. The
// result is as that of [IssuerFlaw].
func MetadataFlaw(metadata string) string {
	u, err := url.Parse(metadata)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(metadata, "#") ||
		u.String() != metadata || strings.ContainsFunc(metadata, isUnquotable):
		return "must be a URL such as https://api.example.com/.well-known/oauth-protected-resource, in " +
			"ASCII, without a user and a fragment"
	case !IsSecure(u):
		return "must be https, or http on loopback"
	case len(metadata) > maxMetadata:
		return "must be at most " + strconv.Itoa(maxMetadata) + " bytes long"
	}
	return ""
}

// isUnquotable reports whether a quoted string in a header cannot contain the character as it is (RFC 9110,
// section 5.6.4), or whether a URL cannot.
func isUnquotable(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
