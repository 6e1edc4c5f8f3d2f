/* Open every page of the built book in Chromium, light and dark, wide and narrow, and report
 * accessibility violations (axe), console errors, requests off the local server, formulas that
 * KaTeX could not draw, and pages wider than the window.
 *
 *   node scripts/check_browser.mjs [--site _build/html] [--screenshots FOLDER] [page ...]
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const VIEWS = ["light", "dark"].flatMap((mode) =>
  [1280, 390].map((width) => ({ mode, width, name: `${mode} ${width} px` })));
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { site: { type: "string", default: "_build/html" }, screenshots: { type: "string" } },
});

/* All pages but the theme's own files and redirects, which no reader sees. */
function pagesOf(site) {
  return readdirSync(site, { recursive: true })
    .filter((file) => file.endsWith(".html") && !/(^|\/)_/.test(file))
    .filter((file) => !/http-equiv="refresh"/i.test(readFileSync(join(site, file), "utf8")))
    .sort();
}

/* Python's own server on a free port of the loopback interface. */
async function serve(site) {
  const command = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", site];
  const server = spawn(process.env.PYTHON ?? "python3", command, { stdio: ["ignore", "pipe", "ignore"] });
  const address = await new Promise((resolve, reject) => {
    server.on("error", reject);
    server.on("exit", (code) => reject(new Error(`the local server ended with code ${code}`)));
    server.stdout.on("data", (text) => {
      const port = /port (\d+)/.exec(String(text));
      if (port) resolve(`http://127.0.0.1:${port[1]}/`);
    });
  });
  return { address, stop: () => server.kill() };
}

/* What is hidden until a click is checked too. */
const reveal = () => {
  document.querySelectorAll("details").forEach((box) => { box.open = true; });
  document.querySelectorAll(".toggle-hidden").forEach((box) => box.classList.remove("toggle-hidden"));
};

const measure = () => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const formulas = [...document.querySelectorAll(".katex-error")].map((box) => box.textContent);
  const drawn = [...document.querySelectorAll(".math")].filter((box) => !box.querySelector(".katex"));
  return { wide, formulas: [...formulas, ...drawn.map((box) => box.textContent)] };
};

async function problemsOf(context, address, file, view) {
  const found = [];
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") found.push(`console error: ${message.text()}`);
  });
  page.on("pageerror", (error) => found.push(`script error: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) found.push(`${response.status()}: ${response.url()}`);
  });
  await page.route(/.*/, (route) => {
    if (/^(data|blob):/.test(route.request().url()) || route.request().url().startsWith(address)) {
      return route.continue();
    }
    found.push(`request off the local server: ${route.request().url()}`);
    return route.abort();
  });
  await page.goto(address + file, { waitUntil: "load" });
  await page.evaluate(reveal);
  await page.waitForTimeout(100); // observers and late scripts
  const { wide, formulas } = await page.evaluate(measure);
  if (wide > 0) found.push(`the page is ${wide} px wider than the window`);
  found.push(...formulas.map((text) => `formula not drawn: ${text.slice(0, 80)}`));
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate(() => window.axe.run(document));
  for (const { id, help, nodes } of violations) {
    const places = nodes.slice(0, 3).map((node) => node.html.replace(/\s+/g, " ").slice(0, 160));
    found.push(`axe ${id} (${nodes.length}x): ${help}\n      ${places.join("\n      ")}`);
  }
  if (options.screenshots) {
    const name = `${file.replaceAll("/", "-")}-${view.mode}-${view.width}.png`;
    await page.screenshot({ path: join(options.screenshots, name), fullPage: true });
  }
  await page.close();
  return found;
}

async function checkView(browser, address, pages, view, places) {
  const context = await browser.newContext({
    viewport: { width: view.width, height: 900 }, colorScheme: view.mode, reducedMotion: "reduce",
  });
  await context.addInitScript((mode) => {
    localStorage.setItem("mode", mode);
    localStorage.setItem("theme", mode);
  }, view.mode);
  for (const file of pages) {
    for (const problem of new Set(await problemsOf(context, address, file, view))) {
      places.set(problem, [...(places.get(problem) ?? []), `${file} (${view.name})`]);
    }
  }
  await context.close();
}

/* One paragraph a problem, with the first pages that have it. */
function report(places, pages) {
  for (const [problem, where] of places) {
    const more = where.length > 4 ? `, and ${where.length - 4} more` : "";
    console.log(`${problem}\n    on ${where.slice(0, 4).join(", ")}${more}`);
  }
  console.log(`browser check: ${pages.length} pages, ${VIEWS.length} views each, ${places.size} problems`);
}

const executablePath = process.env.CHROMIUM ?? BROWSERS.find(existsSync);
if (!executablePath) throw new Error(`no Chromium among ${BROWSERS}; set CHROMIUM to its path`);
const pages = positionals.length
  ? positionals.map((path) => relative(options.site, path))
  : pagesOf(options.site);
if (!pages.length) throw new Error(`no page in ${options.site}: run "make book" first`);

const server = await serve(options.site);
let browser;
try {
  browser = await chromium.launch({ executablePath, args: FLAGS });
  const places = new Map();
  await Promise.all(VIEWS.map((view) => checkView(browser, server.address, pages, view, places)));
  report(places, pages);
  process.exitCode = places.size ? 1 : 0;
} finally {
  await browser?.close();
  server.stop();
}
