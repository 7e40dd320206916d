package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// inView waits until the whole element is in the part of the page that the window shows.
func (b *tab) inView(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(({top, bottom}) => top >= 0 && bottom <= innerHeight)(
		document.querySelector(%s).getBoundingClientRect())`, quote(selector)))
}

// refused waits until the page shows the message beside the field. The field has the focus, and a
// screen reader reads the message and the hint of the field.
func (b *tab) refused(field, message string) {
	b.t.Helper()
	b.shows(field+" + .refusal", message)
	b.focused(field + "[aria-invalid=true]")
	b.inView(field)
	b.inView(field + " + .refusal")
	description := eval[string](b,
		fmt.Sprintf(`document.querySelector(%s).getAttribute("aria-describedby").split(" ")[0]`, quote(field)))
	require.Equal(b.t, message, b.text("#"+description))
	require.Equal(b.t, 1, eval[int](b, `document.querySelectorAll(".refusal").length`))
	require.Empty(b.t, eval[string](b, `document.getElementById("alert").innerText`))
}

// set replaces the value of the field, also by one that a user cannot type.
func (b *tab) set(field, value string) {
	b.t.Helper()
	eval[chromedp.Void](b,
		fmt.Sprintf("void (document.querySelector(%s).value = %s)", quote(field), quote(value)))
}

func TestARefusedFieldIsMarkedAndHasTheFocus(t *testing.T) {
	_, b := startSignedIn(t)
	b.fill("#new-username", "grace")
	b.click("#new-user button")
	b.takeSecret("grace is registered")
	// The browser itself checks some fields. The answers of the service must be shown as well.
	eval[chromedp.Void](b, `document.querySelectorAll("form").forEach((form) => { form.noValidate = true; })`)
	for i, c := range []struct{ form, field, value, message string }{
		{"#new-key", "#new-key-label", "\u202e", "Field label must not have control or bidirectional characters"},
		{"#new-key", "#new-key-end", "2020-01-01", "Field expires_at must be in the future"},
		{"#new-user", "#new-email", "nobody", "Field email must be an e-mail address"},
		{"#new-user", "#new-username", "grace", "Username or e-mail already taken: choose another"},
		{"#new-user", "#new-username", "admin",
			"Field username must not be a reserved name such as admin"},
		{"#new-user", "#new-username", " ", "Field username must not begin or end with a space"},
	} {
		b.set("#new-key-label", "")
		b.set("#new-username", fmt.Sprintf("user-%d", i))
		b.set("#new-email", fmt.Sprintf("user-%d@example.com", i))
		b.set(c.field, c.value)
		b.click(c.form + " button")
		b.refused(c.field, c.message)
		require.Equal(t, c.value,
			eval[string](b, fmt.Sprintf("document.querySelector(%s).value", quote(c.field))),
			"the user must be able to mend the value")
	}
	hint := eval[string](b, `document.getElementById("new-key-label").getAttribute("aria-describedby")`)
	require.Equal(t, "new-key-hint", hint)

	b.set("#new-username", "ada")
	b.click("#new-user button")
	b.takeSecret("ada is registered")
	b.until(`document.querySelectorAll(".refusal, [aria-invalid]").length === 0`)
	require.False(t, eval[bool](b, `document.getElementById("new-username").hasAttribute("aria-describedby")`))
}

func TestAMessageStaysInViewAfterScrolling(t *testing.T) {
	_, b := startSignedIn(t)
	b.look(320, "light")
	b.pressOn("#user-list", "admin", "Make a plain user")
	b.shows("#confirm-heading", "Make admin a plain user?")
	b.click("#confirm-yes")
	b.shows("#alert", "The last active super user must stay: make another first")
	eval[chromedp.Void](b, `scrollTo(0, document.body.scrollHeight)`)
	b.until("scrollY > 800")
	b.inView("#alert")
}
