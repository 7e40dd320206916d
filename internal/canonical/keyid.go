package canonical

// IsKeyID reports whether id consists of 1 to maxLength letters, digits, ".", "_" and "-". Such an
// ID needs no quoting in a stored hash, in a token's header or in a file.
func IsKeyID(id string, maxLength int) bool {
	for i := range len(id) {
		if c := id[i]; !IsAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxLength
}
