// Takes pictures of a page in light and dark, 400 px wide, and on paper, and fails if the page logs an error, loads
// anything, is wider than the window, runs an injected script, or is not accessible.
//
//     node tests/verify/screenshots.mjs .tools/browser report.html folder
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { Browser, VIEWS } from "./browser.mjs";

const [, page, folder] = process.argv.slice(2);
const url = pathToFileURL(resolve(page)).href;
const browser = await Browser.start(folder);
for (const view of VIEWS) {
  const tab = await browser.open(view, ["Content Security Policy"]);
  tab.on("request", (request) => browser.check(!request.url().startsWith("http"), `${view.name}: loads ${request.url()}`));
  await tab.goto(url);
  await browser.look(tab, view.name);
  await browser.inject(tab, view.name, ["script-src", "img-src"]);
  await tab.context().close();
}
const tab = await browser.open(VIEWS[1]);
await tab.goto(url);
await tab.pdf({ path: join(folder, "paper.pdf"), printBackground: false });
await browser.end();
