package strictjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-go/auth/internal/strictjson"
	"github.com/stretchr/testify/require"
)

var known = []string{"access_key", "sub", "exp", "ok"}

func TestParseReturnsTheKnownValues(t *testing.T) {
	t.Parallel()
	object, err := strictjson.Parse([]byte(" {\"exp\" : 12, \"more\":[{}, [1.5e3, -0]] "+
		",\n\"sub\":\"a\\u00e9\\ud83d\\ude00\\n\\/\\\"\",\"ok\":true,"+
		"\"s\\u0075m\":{\"exp\":{\"exp\":null}}}\r\n"),
		known)
	require.NoError(t, err)

	require.Equal(t, strictjson.Absent, object.Value(0).Kind())
	sub, ok := object.Value(1).Text()
	require.True(t, ok)
	require.Equal(t, "aé😀\n/\"", sub)
	exp, ok := object.Value(2).Int()
	require.True(t, ok)
	require.EqualValues(t, 12, exp)
	truth, ok := object.Value(3).Bool()
	require.True(t, ok)
	require.True(t, truth)
	require.Equal(t, []string{"more", "sum"}, object.Unknown())
}

func TestKnownNameMayBeWrittenWithEscapes(t *testing.T) {
	t.Parallel()
	object, err := strictjson.Parse([]byte(`{"\u0073ub":"x"}`), known)
	require.NoError(t, err)
	sub, _ := object.Value(1).Text()
	require.Equal(t, "x", sub)
}

func TestEscapesAreReadInBothCasesAndToTheEdgesOfTheirRange(t *testing.T) {
	t.Parallel()
	for escaped, want := range map[string]string{
		`\u0001`:       "\x01",
		`\u0909`:       "\u0909",
		`\u9999`:       "\u9999",
		`\u00e9`:       "é",
		`\u00E9`:       "é",
		`\uaAfF`:       "\uaaff",
		`\uAFaf`:       "\uafaf",
		`\ud7ff`:       "\ud7ff", // the last one before the surrogates
		`\uE000`:       "\ue000", // the first one after them
		`\uFFFF`:       "\uffff",
		`\uD800\uDC00`: "\U00010000",
		`\uDBFF\uDFFF`: "\U0010ffff",
		`\ud83d\uDE00`: "😀",
	} {
		object, err := strictjson.Parse([]byte(`{"sub":"`+escaped+`"}`), known)
		require.NoError(t, err, escaped)
		text, ok := object.Value(1).Text()
		require.True(t, ok)
		require.Equal(t, want, text, escaped)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	var many strings.Builder
	for i := range 257 {
		fmt.Fprintf(&many, `"n%d":0,`, i)
	}
	for name, test := range map[string]struct {
		input string
		want  error
	}{
		"nothing":                        {``, strictjson.ErrSyntax},
		"white space only":               {" \n", strictjson.ErrSyntax},
		"null":                           {`null`, strictjson.ErrSyntax},
		"an array":                       {`[]`, strictjson.ErrSyntax},
		"a string":                       {`"sub"`, strictjson.ErrSyntax},
		"a byte order mark":              {"\ufeff{}", strictjson.ErrSyntax},
		"a second object":                {`{} {}`, strictjson.ErrSyntax},
		"a trailing letter":              {`{}x`, strictjson.ErrSyntax},
		"a trailing NUL":                 {"{}\x00", strictjson.ErrSyntax},
		"a trailing comma":               {`{"sub":"a",}`, strictjson.ErrSyntax},
		"a missing comma":                {`{"sub":"a" "exp":1}`, strictjson.ErrSyntax},
		"a missing value":                {`{"sub":}`, strictjson.ErrSyntax},
		"a missing colon":                {`{"sub" 1}`, strictjson.ErrSyntax},
		"a missing brace":                {`{"sub":1`, strictjson.ErrSyntax},
		"a name without quotes":          {`{sub:1}`, strictjson.ErrSyntax},
		"single quotes":                  {`{'sub':1}`, strictjson.ErrSyntax},
		"a comment":                      {`{/**/"sub":1}`, strictjson.ErrSyntax},
		"a leading zero":                 {`{"exp":01}`, strictjson.ErrSyntax},
		"a leading plus":                 {`{"exp":+1}`, strictjson.ErrSyntax},
		"a number that ends in a dot":    {`{"exp":1.}`, strictjson.ErrSyntax},
		"an empty exponent":              {`{"exp":1e}`, strictjson.ErrSyntax},
		"a lone minus":                   {`{"exp":-}`, strictjson.ErrSyntax},
		"NaN":                            {`{"exp":NaN}`, strictjson.ErrSyntax},
		"a word in upper case":           {`{"ok":TRUE}`, strictjson.ErrSyntax},
		"half a word":                    {`{"ok":tru`, strictjson.ErrSyntax},
		"a line break in a string":       {"{\"sub\":\"a\nb\"}", strictjson.ErrSyntax},
		"an unknown escape":              {`{"sub":"\x41"}`, strictjson.ErrSyntax},
		"an escape of Z":                 {`{"sub":"\uZZZZ"}`, strictjson.ErrSyntax},
		"an escape of Z at the end":      {`{"sub":"\u004Z"}`, strictjson.ErrSyntax},
		"an escape below 0":              {`{"sub":"\u004/"}`, strictjson.ErrSyntax},
		"an escape above 9":              {`{"sub":"\u004:"}`, strictjson.ErrSyntax},
		"an escape below A":              {`{"sub":"\u004@"}`, strictjson.ErrSyntax},
		"an escape above F":              {`{"sub":"\u004G"}`, strictjson.ErrSyntax},
		"an escape below a":              {"{\"sub\":\"\\u004`\"}", strictjson.ErrSyntax},
		"an escape above f":              {`{"sub":"\u004g"}`, strictjson.ErrSyntax},
		"an escape with a sign":          {`{"sub":"\u+041"}`, strictjson.ErrSyntax},
		"an escape with a capital U":     {`{"sub":"\U0041"}`, strictjson.ErrSyntax},
		"a second half of Z":             {`{"sub":"\ud83d\uZZZZ"}`, strictjson.ErrEncoding},
		"an escape of Z in a name":       {`{"\uZZZZ":1}`, strictjson.ErrSyntax},
		"an escape cut short":            {`{"sub":"\u12`, strictjson.ErrSyntax},
		"a backslash at the end":         {`{"sub":"\`, strictjson.ErrSyntax},
		"an open string":                 {`{"sub":"a`, strictjson.ErrSyntax},
		"an array closed by a brace":     {`{"x":[1}`, strictjson.ErrSyntax},
		"a nested trailing comma":        {`{"x":[1,]}`, strictjson.ErrSyntax},
		"a nested object without a name": {`{"x":{1}}`, strictjson.ErrSyntax},
		"NUL by escape":                  {`{"sub":"a\u0000"}`, strictjson.ErrEncoding},
		"NUL in a name":                  {`{"a\u0000":1}`, strictjson.ErrEncoding},
		"NUL as a byte":                  {"{\"sub\":\"a\x00\"}", strictjson.ErrSyntax},
		"invalid UTF-8 in a string":      {"{\"sub\":\"\xff\"}", strictjson.ErrEncoding},
		"an overlong encoding":           {"{\"sub\":\"\xc0\xaf\"}", strictjson.ErrEncoding},
		"an encoded surrogate":           {"{\"sub\":\"\xed\xa0\x80\"}", strictjson.ErrEncoding},
		"a lone high surrogate":          {`{"sub":"\ud83d"}`, strictjson.ErrEncoding},
		"a lone low surrogate":           {`{"sub":"\ude00"}`, strictjson.ErrEncoding},
		"two high surrogates":            {`{"sub":"\ud83d\ud83d"}`, strictjson.ErrEncoding},
		"a surrogate and a letter":       {`{"sub":"\ud83d\u0041"}`, strictjson.ErrEncoding},
		"a surrogate cut short":          {`{"sub":"\ud83d\u00`, strictjson.ErrEncoding},
		"a known name twice":             {`{"sub":"a","sub":"b"}`, strictjson.ErrDuplicate},
		"a known name twice, null first": {`{"sub":null,"sub":"b"}`, strictjson.ErrDuplicate},
		"a known name twice, by escapes": {`{"sub":"a","\u0073ub":"b"}`, strictjson.ErrDuplicate},
		"an unknown name twice":          {`{"x":"a","x":"b"}`, strictjson.ErrDuplicate},
		"a known name in upper case":     {`{"SUB":"a"}`, strictjson.ErrVariant},
		"a known name beside a variant":  {`{"sub":"a","Sub":"b"}`, strictjson.ErrVariant},
		"a known name with a long s":     {`{"acce\u017f\u017f_key":"a"}`, strictjson.ErrVariant},
		"a known name with a Kelvin k":   {"{\"access_\u212aey\":\"a\"}", strictjson.ErrVariant},
		"too many members":               {"{" + strings.TrimSuffix(many.String(), ",") + "}", strictjson.ErrTooLarge},
		"nesting without end":            {`{"x":` + deep + `}`, strictjson.ErrTooLarge},
		"a million brackets":             {`{"x":` + strings.Repeat("[", 1e6), strictjson.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := strictjson.Parse([]byte(test.input), known)
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestEveryPrefixOfAnObjectIsRefused(t *testing.T) {
	t.Parallel()
	whole := `{"sub":"a\u00e9\ud83d\ude00","exp":-12.5e+7,"x":[true,false,null,{"y":[]}],"ok":true}`
	_, err := strictjson.Parse([]byte(whole), known)
	require.NoError(t, err)
	for i := range len(whole) {
		_, err := strictjson.Parse([]byte(whole[:i]), known)
		require.Error(t, err, whole[:i])
	}
}

func TestIntTakesIntegersOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"0": true, "7": true, "-7": true, "9223372036854775807": true, "-9223372036854775808": true,
		"-0": false, "1.0": false, "1e3": false, "1E3": false, "9223372036854775808": false,
		"1000000000000000000000": false, `"1"`: false, "true": false, "null": false, "[1]": false, `{}`: false,
	} {
		object, err := strictjson.Parse([]byte(`{"exp":`+text+`}`), known)
		require.NoError(t, err, text)
		_, ok := object.Value(2).Int()
		require.Equal(t, want, ok, text)
	}
}

func TestIsComparesDecodedText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`"a\u00e9"`: true, `"aé"`: true, `"\u0061é"`: true,
		`"aé "`: false, `"a"`: false, `""`: false, `"AÉ"`: false, `"a\\u00e9"`: false, "null": false, `["aé"]`: false,
	} {
		object, err := strictjson.Parse([]byte(`{"sub":`+text+`}`), known)
		require.NoError(t, err, text)
		require.Equal(t, want, object.Value(1).Is("aé"), text)
	}
	object, err := strictjson.Parse([]byte(`{}`), known)
	require.NoError(t, err)
	require.False(t, object.Value(1).Is(""), "absent is not the empty string")
}

func TestAccessorsRefuseOtherKinds(t *testing.T) {
	t.Parallel()
	for text, kind := range map[string]strictjson.Kind{
		"null": strictjson.Null, "true": strictjson.Bool, "1": strictjson.Number,
		`""`: strictjson.String, "[]": strictjson.Array, "{}": strictjson.Nested,
	} {
		object, err := strictjson.Parse([]byte(`{"sub":`+text+`}`), known)
		require.NoError(t, err)
		value := object.Value(1)
		require.Equal(t, kind, value.Kind())
		_, isText := value.Text()
		require.Equal(t, kind == strictjson.String, isText)
		_, isInt := value.Int()
		require.Equal(t, kind == strictjson.Number, isInt)
		_, isBool := value.Bool()
		require.Equal(t, kind == strictjson.Bool, isBool)
		_, isArray := value.Elements()
		require.Equal(t, kind == strictjson.Array, isArray)
	}
}

func TestElementsReturnsTheElementsOfTheArray(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`[]`: nil, `[ ]`: nil, `[1]`: {"1"}, ` [ 1 , "a,]" ] `: {"1", `"a,]"`},
		`[[1,2],{"sub":[3]},null]`: {"[1,2]", `{"sub":[3]}`, "null"},
	} {
		object, err := strictjson.Parse([]byte(`{"sub":`+text+`}`), known)
		require.NoError(t, err)
		elements, ok := object.Value(1).Elements()
		require.True(t, ok)
		var got []string
		for _, element := range elements {
			got = append(got, string(element.Raw()))
		}
		require.Equal(t, want, got, text)
	}
}

// FuzzParse compares Parse with encoding/json. If Parse accepts a text, encoding/json must accept
// it, too, with the same result.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"sub":"a","exp":1,"ok":true}`, `{"sub":"\ud83d\ude00\n"}`, `{"SUB":1}`, `{"x":[{"y":-1.5e-3},null]}`,
		`{"sub":"a","sub":"b"}`, `{"exp":01}`, "{\"sub\":\"\xff\"}", `{"sub":"\u0000"}`, ` {"a" : "b" } `, `{"exp":-0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		object, err := strictjson.Parse(data, known)
		if err != nil {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var reference map[string]any
		require.NoError(t, decoder.Decode(&reference))
		seen := len(object.Unknown())
		for i, name := range known {
			value := object.Value(i)
			if value.Kind() == strictjson.Absent {
				require.NotContains(t, reference, name)
				continue
			}
			seen++
			if text, ok := value.Text(); ok {
				require.Equal(t, reference[name], text)
				require.True(t, value.Is(text))
				require.False(t, value.Is(text+"x"))
			}
			if n, ok := value.Int(); ok {
				require.Equal(t, reference[name], json.Number(fmt.Sprint(n)))
			}
			if truth, ok := value.Bool(); ok {
				require.Equal(t, reference[name], truth)
			}
			if elements, ok := value.Elements(); ok {
				require.Len(t, reference[name], len(elements))
				for _, element := range elements {
					require.True(t, json.Valid(element.Raw()))
				}
			}
		}
		require.Len(t, reference, seen)
		for _, name := range object.Unknown() {
			require.Contains(t, reference, name)
		}
	})
}
