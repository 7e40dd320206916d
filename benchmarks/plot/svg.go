package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The positions of the axes.
const (
	width, height = 720, 420
	left, right   = 80, width - 45
	top, bottom   = 40, height - 60
)

// style distinguishes overlapping lines without colors: each line is dashed, or thinner than the
// line below it.
const style = `
.page { fill: #fff }
text { fill: #1f2328; font: 14px system-ui, sans-serif }
.small { font-size: 12.5px; fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 }
.l { fill: none; stroke-linejoin: round; stroke-linecap: round }
.l0 { stroke: #54aeff; stroke-width: 9; stroke-opacity: .55 }
.l1 { stroke: #0550ae; stroke-width: 3.5 }
.l2 { stroke: #bc4c00; stroke-width: 2; stroke-dasharray: 7 6 }
.text { stroke: #6e7781; stroke-width: 2; stroke-dasharray: 1 6 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 }
text { fill: #e6edf3 }
.small { fill: #9198a1 }
.grid { stroke: #30363d }
.l0 { stroke: #1f6feb }
.l1 { stroke: #a5d6ff }
.l2 { stroke: #ff7b72 }
.text { stroke: #9198a1 }
}
`

// axes maps values to positions in the picture.
type axes struct {
	decades int     // powers of ten of live tokens on the x axis
	most    float64 // nanoseconds at the top of the y axis
}

func (a axes) x(live int) float64 {
	return left + (right-left)*math.Log10(float64(live))/float64(a.decades)
}
func (a axes) y(ns float64) float64 { return bottom - (bottom-top)*ns/a.most }

// draw returns an SVG picture of the lines.
func draw(lines []line) []byte {
	a, step := scale(lines)
	var b bytes.Buffer
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="t">`+"\n", width, height)
	fmt.Fprintf(&b, "<title id=\"t\">%s</title>\n<style>%s</style>\n", summary(lines), style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	for ns := 0.0; ns <= a.most; ns += step {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/>`, left, a.y(ns), right)
		fmt.Fprintf(&b, `<text class="small" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left-10, a.y(ns)+4, grouped(int(ns)))
	}
	for decade, live := 0, 1; decade <= a.decades; decade, live = decade+1, live*10 {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dv5"/>`, a.x(live), bottom)
		fmt.Fprintf(&b, `<text class="small" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			a.x(live), bottom+22, grouped(live))
	}
	fmt.Fprintf(&b,
		`<text x="%d" y="%d" text-anchor="middle">live tokens, each asked for in turn</text>`+"\n", (left+right)/2, height-12)
	fmt.Fprintf(&b, `<text x="%d" y="%d">nanoseconds to verify a token seen before</text>`+"\n", 20, 24)
	fmt.Fprintf(&b, `<rect class="page" x="%d" y="%d" width="390" height="%d"/>`+"\n", left+12,
		top+12, 24*len(lines)+12)
	for i, l := range lines {
		class := fmt.Sprint("l l", i%3)
		if l.revoked == textAlone {
			class = "l text"
		}
		var path []string
		for _, p := range l.points {
			path = append(path, fmt.Sprintf("%.1f %.1f", a.x(p.live), a.y(p.ns)))
		}
		fmt.Fprintf(&b, `<path class="%s" d="M%s"/>`+"\n", class, strings.Join(path, "L"))
		y := top + 30 + 24*i
		fmt.Fprintf(&b, `<path class="%s" d="M%d %dh40"/><text x="%d" y="%d">%s</text>`+"\n", class,
			left+24, y, left+78, y+5, label(l))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scale returns axes that fit all points, and the step between two marks on the y axis.
func scale(lines []line) (axes, float64) {
	live, ns := 10, 1.0
	for _, l := range lines {
		for _, p := range l.points {
			live, ns = max(live, p.live), max(ns, p.ns)
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(ns)))
	if ns/step < 5 { // otherwise there would be too few marks
		step /= 2
	}
	return axes{int(math.Ceil(math.Log10(float64(live)) - 1e-9)), math.Ceil(ns/step) * step}, step
}

func label(l line) string {
	if l.revoked == textAlone {
		return "of which: fetching the text that is asked for"
	}
	return grouped(l.revoked) + " sessions were revoked"
}

// summary describes the picture for readers who cannot see it.
func summary(lines []line) string {
	var parts []string
	for _, l := range lines {
		first, last := l.points[0], slices.MaxFunc(l.points, func(a, b point) int {
			return a.live - b.live
		})
		parts = append(parts, fmt.Sprintf("%s: %.0f ns with %s live tokens, %.0f ns with %s",
			label(l), first.ns, grouped(first.live), last.ns, grouped(last.live)))
	}
	return "Time to verify a token seen before. " + strings.Join(parts, "; ")
}

// grouped returns the number with a comma between thousands.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
