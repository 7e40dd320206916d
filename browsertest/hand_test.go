package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/sallyport-go/auth"
	"github.com/stretchr/testify/require"
)

// hands runs a test in windows of a phone and of a laptop, with the mouse and with the keyboard alone.
func hands(t *testing.T, test func(t *testing.T, newTab func(t *testing.T) *tab)) {
	t.Helper()
	for _, keyboard := range []bool{false, true} {
		for _, width := range []int64{390, 1280} {
			name := map[bool]string{false: "mouse", true: "keyboard"}[keyboard]
			t.Run(fmt.Sprintf("%s-%d", name, width), func(t *testing.T) {
				test(t, func(t *testing.T) *tab {
					b := newBrowser(t)
					b.keyboard = keyboard
					b.look(width, "light")
					return b
				})
			})
		}
	}
}

// use clicks on an element, or moves the focus to it with the tabulator and presses Enter.
func (b *tab) use(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%s)?.checkVisibility() ?? false", quote(selector)))
	if !b.keyboard {
		b.rests(selector)
		b.click(selector)
		return
	}
	b.reach(selector)
	b.press(kb.Enter)
}

// rests waits until an element has stopped moving, as a person does before a click.
func (b *tab) rests(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`((at) => {
		const box = JSON.stringify(at?.getBoundingClientRect()), before = window.boxBefore;
		window.boxBefore = box;
		return !!at && box === before;
	})(document.querySelector(%s))`, quote(selector)))
}

// reach moves the focus to an element with the tabulator. The focus must be visible.
func (b *tab) reach(selector string) {
	b.t.Helper()
	for range 150 {
		if eval[bool](b, fmt.Sprintf("document.activeElement?.matches(%s) ?? false", quote(selector))) {
			require.NotEqual(b.t, "none", eval[string](b,
				"getComputedStyle(document.activeElement).outlineStyle"),
				"the focus on %s must be visible", selector)
			return
		}
		b.press(kb.Tab)
	}
	require.Fail(b.t, "the tabulator does not reach "+selector)
}

// enter types a text in an empty field.
func (b *tab) enter(selector, text string) {
	b.t.Helper()
	if b.keyboard {
		b.reach(selector)
		b.press(text)
		return
	}
	b.fill(selector, text)
}

// tick changes a checkbox or selects a radio button.
func (b *tab) tick(selector string) {
	b.t.Helper()
	if b.keyboard {
		b.reach(selector)
		b.press(" ")
		return
	}
	b.click(selector)
}

// choose selects an option by its value, with the arrow keys if there is no mouse. It also sets a day.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	const steps = `((field) => field.tagName !== "SELECT" ? null :
		[...field.options].findIndex((option) => option.value === %s) - field.selectedIndex
		)(document.querySelector(%s))`
	if b.keyboard {
		b.reach(selector)
		distance := eval[*int](b, fmt.Sprintf(steps, quote(value), quote(selector)))
		if distance != nil {
			key, count := kb.ArrowDown, *distance
			if count < 0 {
				key, count = kb.ArrowUp, -count
			}
			for range count {
				b.press(key)
			}
			chosen := fmt.Sprintf("document.querySelector(%s).value", quote(selector))
			require.Equal(b.t, value, eval[string](b, chosen))
			return
		}
	}
	// A list of options and a calendar are windows of the system, which a test cannot use.
	eval[chromedp.Void](b, fmt.Sprintf(`void ((select) => { select.value = %s;
		for (const type of ["input", "change"]) select.dispatchEvent(new Event(type, {bubbles: true})); })(document.querySelector(%s))`,
		quote(value), quote(selector)))
}

// row returns the selector of an element in the row of a table that contains the text. The test marks the
// row.
func (b *tab) row(text, element string) string {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll("tbody tr")].find((row) => row.innerText.includes(%s))`,
		quote(text))
	b.until(fmt.Sprintf("!!%s", find))
	eval[chromedp.Void](b, fmt.Sprintf(`void (document.querySelectorAll("[data-row]").forEach((row) => row.removeAttribute("data-row")),
		%s.setAttribute("data-row", ""))`, find))
	return "tr[data-row] " + element
}

// rows returns the number of rows of the tables.
func (b *tab) rows() int {
	b.t.Helper()
	return eval[int](b, `document.querySelectorAll("tbody tr").length`)
}

// fromMenu opens the menu in a row and uses the action with this text.
func (b *tab) fromMenu(row, action string) {
	b.t.Helper()
	b.use(b.row(row, ".icon-button"))
	b.until(`document.querySelector(".menu:popover-open")?.checkVisibility({visibilityProperty: true})`)
	mark := fmt.Sprintf(`[...document.querySelectorAll(".menu:popover-open button")].find((item) => item.textContent === %s)`,
		quote(action))
	b.until("!!" + mark)
	eval[chromedp.Void](b, fmt.Sprintf(`void (document.querySelector("[data-item]")?.removeAttribute("data-item"),
		%s.setAttribute("data-item", ""))`, mark))
	b.use(".menu:popover-open [data-item]")
	b.until(`!!document.querySelector("dialog[open]")`)
}

// agree presses the button of a dialog about a dangerous action. The button Cancel has the focus at first.
func (b *tab) agree(heading string) {
	b.t.Helper()
	b.shows("dialog[open] h2", heading)
	require.Equal(b.t, "alertdialog", eval[string](b, `document.querySelector("dialog[open]").role`))
	require.Equal(b.t, "rgb(196, 40, 28)", eval[string](b,
		`getComputedStyle(document.querySelector("dialog[open] .danger.fill")).backgroundColor`), "red")
	b.use("dialog[open] .danger.fill")
}

// says waits for the message that an action has succeeded. The focus is on an element of the page.
func (b *tab) says(text string) {
	b.t.Helper()
	b.shows("#status", text)
	b.until(`document.activeElement !== document.body && !document.querySelector("dialog")`)
	b.settled()
}

// text returns the visible text of the element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%s).innerText.trim()", quote(selector)))
}

// takeSecret returns the pair that the open dialog shows, and closes the dialog. After that, the secret
// is nowhere in the page.
func (b *tab) takeSecret(heading string) auth.KeyPair {
	b.t.Helper()
	b.shows(".secret-dialog h2", heading)
	shown := eval[[]string](b, `[...document.querySelectorAll(".secret-dialog .secret code")].map((code) => code.textContent)`)
	require.Len(b.t, shown, 2)
	require.Regexp(b.t, `^ak_live_\w{26}$`, shown[0])
	require.Regexp(b.t, `^as_live_\w{69}$`, shown[1])
	b.use(".secret-dialog .primary")
	b.until(`!document.querySelector("dialog")`)
	b.requireNowhere(shown[1])
	return auth.KeyPair{AccessKey: shown[0], AccessSecret: auth.NewSecret(shown[1])}
}

// requireNowhere fails the test if the text is anywhere in the page or its storage.
func (b *tab) requireNowhere(secret string) {
	b.t.Helper()
	const everything = `document.documentElement.outerHTML + JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie +
		location.href + JSON.stringify(history.state) + name + [...document.querySelectorAll("input")].map((input) => input.value).join() +
		Object.values(window).filter((value) => typeof value === "string").join() + performance.getEntries().map((entry) => entry.name).join()`
	var found string
	require.Eventually(b.t, func() bool { // an error means that the browser is loading another page
		var err error
		found, err = chromedp.Run(b.ctx, chromedp.Evaluate[string](everything))
		return err == nil
	}, testTimeout/4, testTimeout/4000)
	require.NotContains(b.t, found, secret)
}

// refused waits until the page shows the message beside the field. The field has the focus, and a screen
// reader reads the message.
func (b *tab) refused(field, message string) {
	b.t.Helper()
	b.shows(field+" + .refusal", message)
	b.focused(field + "[aria-invalid=true]")
	description := eval[string](b,
		fmt.Sprintf(`document.querySelector(%s).getAttribute("aria-describedby").split(" ")[0]`, quote(field)))
	require.Equal(b.t, message, b.text("#"+description))
	require.Equal(b.t, 1, eval[int](b, `document.querySelectorAll(".refusal").length`))
}

// set replaces the value of the field, also by one that a user cannot type.
func (b *tab) set(field, value string) {
	b.t.Helper()
	eval[chromedp.Void](b,
		fmt.Sprintf("void (document.querySelector(%s).value = %s)", quote(field), quote(value)))
}
