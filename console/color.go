package console

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
)

// color is a color of the space sRGB. Each component is from 0 to 255.
type color [3]float64

var (
	white = color{255, 255, 255}
	black = color{0, 0, 0}

	// lightPage and darkPage are the backgrounds of console.css that leave the least contrast.
	lightPage = color{0xf6, 0xf7, 0xf9}
	darkPage  = color{0x1e, 0x23, 0x2c}
)

// legible is the least contrast between a small text and its background (WCAG 2.2, success criterion 1.4.3).
const legible = 4.5

func parseColor(text string) (color, error) {
	digits, ok := strings.CutPrefix(text, "#")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != 3 {
		return color{}, errors.New("console: Config.Accent must be # and six hexadecimal digits, such " +
			"as #4f46e5")
	}
	return color{float64(b[0]), float64(b[1]), float64(b[2])}, nil
}

func (c color) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(math.Round(c[0])), int(math.Round(c[1])), int(math.Round(c[2])))
}

// luminance returns the relative luminance that WCAG defines.
func (c color) luminance() float64 {
	linear := func(component float64) float64 {
		if component /= 255; component > 0.04045 {
			return math.Pow((component+0.055)/1.055, 2.4)
		}
		return component / 12.92
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

func contrast(a, b color) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// towards returns the first color between c and the other color that has a legible contrast with all
// backgrounds.
func (c color) towards(other color, backgrounds ...color) color {
	const steps = 50
	for step := range steps + 1 {
		var mixed color
		for i := range mixed {
			mixed[i] = math.Round(c[i] + (other[i]-c[i])*float64(step)/steps)
		}
		enough := true
		for _, background := range backgrounds {
			enough = enough && contrast(mixed, background) >= legible
		}
		if enough {
			return mixed
		}
	}
	return other
}

// theme returns a stylesheet with the custom properties of the accent. --accent is the background of the
// most important button, and --on-accent is the color of its text. Black or white is legible on every
// color. --link is the color of links in each color scheme.
func theme(accent color) string {
	on := white
	if contrast(accent, black) > contrast(accent, white) {
		on = black
	}
	return fmt.Sprintf(":root { --accent: %s; --on-accent: %s; --link: %s; }\n"+
		"@media (prefers-color-scheme: dark) { :root { --link: %s; } }\n",
		accent, on, accent.towards(black, white, lightPage), accent.towards(white, darkPage))
}
