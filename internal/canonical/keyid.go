package canonical

// IsKeyID reports whether id is 1 to maxLength letters, digits, ".", "_" and "-". Such an ID can
// stand in a stored hash, in a token's header and in a file without being quoted.
func IsKeyID(id string, maxLength int) bool {
	for i := range len(id) {
		if c := id[i]; !IsAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxLength
}
