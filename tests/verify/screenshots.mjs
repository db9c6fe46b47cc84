// Takes pictures of a page in light and dark, 400 px wide, and on paper, and fails if the page logs an error, loads
// anything, or is wider than the window.
//
//     node tests/verify/screenshots.mjs report.html folder
//
// Needs the npm package playwright-core, and Chromium at $CHROMIUM or /usr/bin/chromium.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(join(process.cwd(), "package.json"))("playwright-core");
const [page, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const faults = [];
const views = [
  { name: "light", colorScheme: "light", viewport: { width: 1200, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1200, height: 900 } },
  { name: "narrow", colorScheme: "light", viewport: { width: 400, height: 800 } },
];
for (const { name, ...view } of views) {
  const context = await browser.newContext(view);
  const tab = await context.newPage();
  tab.on("console", (message) => message.type() === "error" && faults.push(`${name}: ${message.text()}`));
  tab.on("pageerror", (error) => faults.push(`${name}: ${error}`));
  tab.on("dialog", (dialog) => (faults.push(`${name}: a dialog`), dialog.dismiss()));
  tab.on("request", (request) => request.url().startsWith("http") && faults.push(`${name}: loads ${request.url()}`));
  await tab.goto(pathToFileURL(resolve(page)).href);
  const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) faults.push(`${name}: ${wide} px wider than the window`);
  // The policy of the page refuses a script that finds its way into it.
  const ran = await tab.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    return window.ran === true;
  });
  if (ran) faults.push(`${name}: a script in the page runs`);
  // The refusal is an error in the console, and meant.
  faults.splice(0, faults.length, ...faults.filter((fault) => !fault.includes("Content Security Policy")));
  await tab.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  await context.close();
}
const context = await browser.newContext({ colorScheme: "dark" });
const tab = await context.newPage();
await tab.goto(pathToFileURL(resolve(page)).href);
await tab.pdf({ path: join(folder, "paper.pdf"), printBackground: false });
await browser.close();
if (faults.length > 0) {
  console.error(faults.join("\n"));
  process.exit(1);
}
