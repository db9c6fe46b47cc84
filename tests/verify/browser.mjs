// The common parts of the checks in a browser: Chromium by playwright-core, and axe-core for accessibility. Both are in
// the folder that the first argument of each script names.
import { accessSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";

const require = createRequire(`${resolve(process.argv[2])}/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core");

/** The views in which each page is checked. */
export const VIEWS = [
  { name: "light", colorScheme: "light", viewport: { width: 1200, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1200, height: 900 } },
  { name: "narrow", colorScheme: "light", viewport: { width: 400, height: 800 } },
];

function executable() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => {
    try {
      accessSync(path);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error("Chromium is not installed: run make chromium");
  return found;
}

/** A browser whose faults are collected. */
export class Browser {
  faults = [];

  static async start(folder) {
    const browser = new Browser();
    mkdirSync(folder, { recursive: true });
    browser.folder = folder;
    browser.chromium = await chromium.launch({ executablePath: executable(), args: ["--no-sandbox"] });
    return browser;
  }

  check(isSo, fault) {
    if (!isSo) this.faults.push(fault);
  }

  /** Opens a tab with its own session. Errors in its console are faults, unless they are `meant`. */
  async open({ name, ...view }, meant = []) {
    const context = await this.chromium.newContext({ reducedMotion: "reduce", ...view });
    const tab = await context.newPage();
    tab.setDefaultTimeout(20_000);
    const note = (text) => meant.some((part) => text.includes(part)) || this.faults.push(`${name}: ${text}`);
    tab.on("console", (message) => ["error", "warning"].includes(message.type()) && note(message.text()));
    tab.on("pageerror", (error) => note(`${error}`));
    tab.on("dialog", (dialog) => (note("a dialog"), dialog.dismiss()));
    return tab;
  }

  /** Checks what every page must be, and takes a picture. */
  async look(tab, name) {
    const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    this.check(wide <= 0, `${name}: ${wide} px wider than the window`);
    // A script that the browser's own tools run is not subject to the policy of the page.
    const found = await tab.evaluate(`${axe.source}; axe.run(document, { resultTypes: ["violations"] })`);
    for (const { id, help, nodes } of found.violations) {
      const where = nodes.map((node) => `${node.target} ${node.failureSummary}`).join("\n    ");
      this.faults.push(`${name}: axe: ${id}: ${help}\n    ${where}`);
    }
    await tab.screenshot({ path: join(this.folder, `${name}.png`), fullPage: true });
  }

  /** Injects a script, a handler and a picture. The policy of the page must refuse each of them. */
  async inject(tab, name, meant) {
    const result = await tab.evaluate(async () => {
      const refused = [];
      document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
      const add = (element, attributes) => document.body.append(Object.assign(document.createElement(element), attributes));
      add("script", { textContent: "window.injected = 'script'" });
      const button = document.createElement("button");
      button.setAttribute("onclick", "window.injected = 'handler'");
      document.body.append(button);
      button.click();
      button.remove();
      add("img", { src: "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==", alt: "", hidden: true });
      await new Promise((done) => setTimeout(done, 200));
      return { ran: window.injected ?? null, refused };
    });
    this.check(result.ran === null, `${name}: an injected ${result.ran} ran`);
    for (const directive of meant) {
      this.check(result.refused.some((one) => one.startsWith(directive)), `${name}: not refused by ${directive}: ${result.refused}`);
    }
  }

  /** Ends the browser and the process. */
  async end() {
    await this.chromium.close();
    if (this.faults.length > 0) {
      console.error(this.faults.join("\n"));
      process.exit(1);
    }
  }
}
