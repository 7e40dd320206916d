package workload

import "net/netip"

// CheckAddress is checkAddress.
func CheckAddress(address string, networks ...netip.Prefix) error {
	return checkAddress(address, networks)
}

// ParseKeys returns the number of keys of the set that can verify assertions.
func ParseKeys(text string) (int, error) {
	keys, err := parseKeys([]byte(text))
	return len(keys), err
}

// InClusterFrom is InCluster with the files in another directory.
func InClusterFrom(dir, issuer string, networks ...netip.Prefix) (Issuer, error) {
	return inCluster(dir, issuer, networks)
}
