package html

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

// browser starts a Chromium of its own that no other test shares.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	testreq.Need(t, path != "", "Chromium (apt-get install chromium)")
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	// The first action starts the browser, which lives as long as its context.
	do(t, ctx, chromedp.Navigate("about:blank"))
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// save puts the page of a run where a browser can open it from disk.
func save(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".html")
	if err := os.WriteFile(path, renderRun(t, name), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func eval[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	return get(t, ctx, chromedp.Evaluate[T](script))
}

func call[P any](t *testing.T, ctx context.Context, cmd cdp.Command[P, cdp.Empty], params P) {
	t.Helper()
	if _, err := chromedp.Call(ctx, cmd, params); err != nil {
		t.Fatal(err)
	}
}

// watch collects what the page asks for and what it complains of.
func watch(t *testing.T, ctx context.Context) (asked, complaints func() []string) {
	t.Helper()
	var mu sync.Mutex
	var urls, words []string
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			urls = append(urls, ev.Request.URL)
		case *runtime.EventConsoleAPICalled:
			words = append(words, fmt.Sprint("console: ", ev.Type))
		case *runtime.EventExceptionThrown:
			words = append(words, "exception: "+ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			words = append(words, ev.Entry.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(t, ctx, network.Enable, network.EnableParams{})
	copied := func(p *[]string) func() []string {
		return func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), *p...)
		}
	}
	return copied(&urls), copied(&words)
}

// TestQuietAndAlone opens each page from disk: it asks nobody for anything,
// complains of nothing, and no attack of the hostile run succeeds.
func TestQuietAndAlone(t *testing.T) {
	ctx := browser(t)
	asked, complaints := watch(t, ctx)
	var want []string
	for _, name := range []string{"reject", "escalate", "approve", "hostile", "lineage"} {
		url := save(t, name)
		want = append(want, url)
		do(t, ctx, chromedp.Navigate(url))
		title := get(t, ctx, chromedp.Title())
		foreign := eval[int](t, ctx, `document.querySelectorAll("script,style,img,iframe,object,form,link,base,a:not([href^='#'])").length`)
		if !strings.HasSuffix(title, ": weighbridge report") {
			t.Errorf("%s: the title is %q", name, title)
		}
		if foreign != 2 {
			t.Errorf("%s: %d elements that can load or lead away, want the style sheet and the script", name, foreign)
		}
	}
	if d := cmp.Diff(want, asked()); d != "" {
		t.Errorf("requests: %s", d)
	}
	if c := complaints(); len(c) > 0 {
		t.Errorf("the console is not empty: %q", c)
	}
}

// TestPolicyHolds runs what an attacker who got markup into the page would.
func TestPolicyHolds(t *testing.T) {
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(save(t, "reject")))
	owned := eval[bool](t, ctx, `(() => {
		const s = document.createElement("script"); s.textContent = "window.owned = true"; document.body.append(s);
		const d = document.createElement("div"); d.innerHTML = '<b onclick="window.owned = true" style="color: rgb(1, 2, 3)">x</b>'; document.body.append(d);
		d.firstChild.click();
		return window.owned === true || getComputedStyle(d.firstChild).color === "rgb(1, 2, 3)";
	})()`)
	if owned {
		t.Error("markup that was put into the page ran or was styled")
	}
}

func TestNarrowScreen(t *testing.T) {
	ctx := browser(t)
	for _, name := range []string{"reject", "hostile", "lineage"} {
		url := save(t, name)
		// 320 is what WCAG 2.2, 1.4.10 asks for.
		for _, width := range []int64{320, 390, 700, 1000} {
			do(t, ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(url))
			if over := eval[int](t, ctx, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
				t.Errorf("%s is %d pixels wider than a screen of %d", name, over, width)
			}
		}
	}
}

// TestKeyboard walks through the page with the tab key.
func TestKeyboard(t *testing.T) {
	ctx := browser(t)
	do(t, ctx, chromedp.EmulateViewport(1000, 800), chromedp.Navigate(save(t, "reject")))
	type stop struct {
		Text    string
		Ring    bool
		Ordered bool
		Done    bool
	}
	const look = `(() => {
		const e = document.activeElement;
		if (!e || e === document.body) return {Done: true};
		const s = getComputedStyle(e);
		const ordered = !window.last || !!(window.last.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING);
		window.last = e;
		const box = e.getBoundingClientRect();
		return {Text: e.textContent.trim() || e.id, Ring: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 && box.right > 0 && box.width > 0, Ordered: ordered, Done: false};
	})()`
	var seen []string
	for range 200 {
		do(t, ctx, chromedp.KeyEvent(kb.Tab))
		s := eval[stop](t, ctx, look)
		if s.Done {
			break
		}
		if !s.Ring {
			t.Errorf("%.60q has the focus and does not show it", s.Text)
		}
		if !s.Ordered {
			t.Errorf("%.60q gets the focus out of order", s.Text)
		}
		seen = append(seen, s.Text)
	}
	if len(seen) < 20 || seen[0] != "Skip to the report" {
		t.Fatalf("%d stops, the first %.60q", len(seen), seen)
	}
	for _, want := range []string{"flip-text", "Recovered triggers and secrets"} {
		if !strings.Contains(strings.Join(seen, "\n"), want) {
			t.Errorf("%q is out of reach", want)
		}
	}
	do(t, ctx, chromedp.Reload(), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	if at := eval[string](t, ctx, `document.activeElement.id`); at != "main" {
		t.Errorf("the skip link leads to %q", at)
	}
}

// TestContrast holds every text against WCAG 2.2, 1.4.3 (4.5 to 1; 3 to 1 for
// large text) in both themes.
func TestContrast(t *testing.T) {
	ctx := browser(t)
	const look = `(() => {
		const rgb = (s) => (s.match(/[\d.]+/g) || []).map(Number);
		const lum = (c) => { const f = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
		const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
		const bad = new Set();
		for (const e of document.querySelectorAll("body *")) {
			if (!Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.trim())) continue;
			const s = getComputedStyle(e);
			if (s.display === "none" || ["SCRIPT", "STYLE", "TITLE", "title"].includes(e.tagName)) continue;
			const a = lum(rgb(e.ownerSVGElement ? s.fill : s.color)), b = lum(ground(e));
			const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			if (ratio < (parseFloat(s.fontSize) >= 24 ? 3 : 4.5)) bad.add(e.tagName + "." + (e.getAttribute("class") || "") + " " + ratio.toFixed(2));
		}
		return Array.from(bad);
	})()`
	for _, name := range []string{"reject", "escalate", "approve", "hostile", "lineage"} {
		url := save(t, name)
		for _, theme := range []string{"light", "dark"} {
			call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
			do(t, ctx, chromedp.Navigate(url))
			if bad := eval[[]string](t, ctx, look); len(bad) > 0 {
				t.Errorf("%s, %s: too little contrast: %q", name, theme, bad)
			}
		}
	}
}

func TestPrint(t *testing.T) {
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(save(t, "lineage")))
	// US Letter without margins of half an inch, at 96 dots: what is wider is cut.
	const width = 720
	call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	do(t, ctx, chromedp.EmulateViewport(width, 1000))
	const wide = `Array.from(document.querySelectorAll("main *")).filter((e) => e.getBoundingClientRect().right > 721)
		.map((e) => e.tagName + "." + (e.getAttribute("class") || "") + " " + Math.round(e.getBoundingClientRect().right))`
	if cut := eval[[]string](t, ctx, wide); len(cut) > 0 {
		t.Errorf("the paper cuts off %.500q", cut)
	}
	call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	do(t, ctx, chromedp.ResetViewport())
	pdf := get(t, ctx, chromedp.PrintToPDF())
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Fatalf("%d bytes that are no PDF", len(pdf))
	}
	if n := len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(pdf, -1)); n < 2 || n > 30 {
		t.Errorf("%d pages", n)
	}
}

func TestWithoutScript(t *testing.T) {
	ctx := browser(t)
	call(t, ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	do(t, ctx, chromedp.Navigate(save(t, "reject")))
	class := eval[string](t, ctx, `document.documentElement.className`)
	rows := eval[int](t, ctx, `document.querySelectorAll("#flips-table tbody tr:not([hidden])").length`)
	if class != "" || rows != 24 {
		t.Errorf("class %q, %d rows: the page needs its script", class, rows)
	}
	if shown := eval[string](t, ctx, `getComputedStyle(document.querySelector(".tools")).display`); shown != "none" {
		t.Error("filters are offered that cannot work")
	}
}

func TestFilters(t *testing.T) {
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(save(t, "reject")))
	said := []string{get(t, ctx, chromedp.Text("#flip-count"))}
	for _, set := range []string{`["flip-text", "q0000"]`, `["flip-kind", "gained"]`, `["flip-order", "item"]`} {
		eval[chromedp.Void](t, ctx, `(([id, value]) => {
			const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event("input"));
		})(`+set+`)`)
		said = append(said, get(t, ctx, chromedp.Text("#flip-count")))
	}
	if d := cmp.Diff([]string{"24 of 24 shown", "11 of 24 shown", "2 of 24 shown", "2 of 24 shown"}, said); d != "" {
		t.Error(d)
	}
	if first := eval[string](t, ctx, `document.querySelector("#flips-table tbody tr:not([hidden]) td").textContent`); !strings.Contains(first, "q000007") {
		t.Errorf("the first row shown is %q", first)
	}
}

// TestLayers walks over the map of changes with the arrow keys, hears each cell
// and sees it, in both themes; a large model fits the screen.
func TestLayers(t *testing.T) {
	ctx := browser(t)
	run, items := runs["reject"]()
	run.Tensors = manyLayers(80)
	path := filepath.Join(t.TempDir(), "large.html")
	if err := os.WriteFile(path, render(t, run, items), 0o600); err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.EmulateViewport(1000, 800), chromedp.Navigate("file://"+path))
	if over := eval[int](t, ctx, `(() => { const s = document.querySelector("svg.heat").parentElement; return s.scrollWidth - s.clientWidth; })()`); over > 0 {
		t.Errorf("80 layers are %d pixels wider than the page", over)
	}
	if stops := eval[int](t, ctx, `document.querySelectorAll("svg.heat [tabindex='0']").length`); stops != 2 {
		t.Errorf("two maps are %d stops of the tab key", stops)
	}
	const cell = `document.activeElement.querySelector("title").textContent`
	eval[chromedp.Void](t, ctx, `document.querySelector("svg.heat rect[tabindex='0']").focus()`)
	var heard []string
	for _, key := range []string{kb.ArrowDown, kb.ArrowRight, kb.ArrowDown, kb.ArrowLeft, kb.ArrowLeft, kb.ArrowUp, kb.ArrowUp} {
		do(t, ctx, chromedp.KeyEvent(key))
		at := eval[string](t, ctx, cell)
		if out := get(t, ctx, chromedp.Text(".readout")); out != at {
			t.Errorf("the cell is %q and the page says %q", at, out)
		}
		name, _, _ := strings.Cut(at, ":")
		heard = append(heard, name)
	}
	want := []string{"layer 0, attn_norm", "layer 1, attn_norm", "layer 1, attn_q", "layer 0, attn_q", "layer 0, attn_q", "layer 0, attn_norm", "token_embd"}
	if d := cmp.Diff(want, heard); d != "" {
		t.Error(d)
	}
	if ring := eval[string](t, ctx, `getComputedStyle(document.activeElement).outlineStyle`); ring == "none" {
		t.Error("the cell with the focus does not show it")
	}
	if stops := eval[int](t, ctx, `document.querySelectorAll("svg.heat [tabindex='0']").length`); stops != 2 {
		t.Errorf("after walking, two maps are %d stops of the tab key", stops)
	}
	do(t, ctx, chromedp.Navigate("file://"+path))
	hovered := eval[string](t, ctx, `(() => {
		const c = document.querySelectorAll("svg.heat rect")[5];
		c.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
		return document.querySelector(".readout").textContent === c.querySelector("title").textContent ? "" : document.querySelector(".readout").textContent;
	})()`)
	if hovered != "" {
		t.Errorf("under the mouse the page says %q", hovered)
	}
	for _, theme := range []string{"light", "dark"} {
		call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
		fills := eval[[]string](t, ctx, `Array.from(new Set(Array.from(document.querySelectorAll("svg.heat rect")).map((c) => c.getAttribute("class") + getComputedStyle(c).fill)), String)`)
		shades := map[string]bool{}
		for _, f := range fills {
			shades[f[2:]] = true
		}
		if len(shades) != len(fills) || len(fills) < 9 {
			t.Errorf("%s: %d classes in %d shades", theme, len(fills), len(shades))
		}
	}
}
