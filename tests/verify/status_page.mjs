// Uses the status page of a gateway as a person does: logs in, tests a webhook, sends a failed message again. Fails if
// anything on the page is not as it must be.
//
//     node tests/verify/status_page.mjs .tools/browser SETUP
//
// SETUP is JSON: the url of the page, the token, the folder for pictures, the name of the webhook, the event of the
// failed message, and texts that must appear as they are.
import { Browser, VIEWS } from "./browser.mjs";

const setup = JSON.parse(process.argv[3]);
const browser = await Browser.start(setup.folder);
const requests = [];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function login(tab, token) {
  await tab.getByLabel("Admin token").fill(token);
  await tab.keyboard.press("Enter");
}

async function opened(view, meant) {
  const tab = await browser.open(view, meant);
  tab.on("request", (request) => requests.push(request));
  await tab.goto(setup.url);
  return tab;
}

/** A page whose gateway answers `status` with a changed copy of the true answer. */
async function changed(view, change) {
  const tab = await browser.open(view);
  await tab.route("**/status?*", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    change(body);
    if (!route.request().url().endsWith("&offset=0")) body.keys = [];
    await route.fulfill({ response: answer, json: body });
  });
  await tab.goto(setup.url);
  await login(tab, setup.token);
  await tab.locator("#status").waitFor();
  return tab;
}

async function everyView() {
  for (const view of VIEWS) {
    const tab = await opened(view, ["Content Security Policy", "401 (Unauthorized)"]);
    browser.check(tab.url().endsWith("/"), `${tab.url()} is not the folder of the endpoints`);
    await browser.look(tab, `login-${view.name}`);
    await login(tab, "wrong");
    await tab.getByText("does not accept this token").waitFor();
    await browser.look(tab, `wrong-token-${view.name}`);
    await login(tab, setup.token);
    await tab.locator("#status").waitFor();
    browser.check(await tab.locator("#trouble").isHidden(), `${view.name}: trouble stays`);
    await browser.look(tab, `status-${view.name}`);
    const text = await tab.locator("main").innerText();
    for (const part of setup.texts) {
      browser.check(text.includes(part), `${view.name}: does not show ${part}`);
    }
    browser.check((await tab.evaluate(() => window.injected ?? null)) === null, `${view.name}: a text became a script`);
    await browser.inject(tab, view.name, ["script-src-elem", "script-src-attr", "img-src"]);
    await tab.context().close();
  }
}

/** The parts of a keyboard's user: everything is reached by Tab, and what has the focus is seen. */
async function keyboard() {
  const tab = await opened(VIEWS[0]);
  await tab.keyboard.press("Tab");
  await tab.keyboard.press("Shift+Tab");
  await login(tab, setup.token);
  await tab.locator("#status").waitFor();
  const wanted = await tab.locator("button:visible, a:visible, input:visible, select:visible, summary:visible").count();
  const reached = new Set();
  await tab.evaluate(() => document.body.focus());
  for (let step = 0; step < wanted + 5; step += 1) {
    await tab.keyboard.press("Tab");
    const focused = await tab.evaluate(() => {
      const element = document.activeElement;
      if (element === document.body) return null;
      const all = [...document.querySelectorAll("button, a, input, select, summary")];
      return { place: all.indexOf(element), style: getComputedStyle(element).outlineStyle };
    });
    if (focused) {
      reached.add(focused.place);
      browser.check(focused.style !== "none", `the focus is not seen on element ${focused.place}`);
    }
  }
  browser.check(reached.size === wanted, `by keyboard: ${reached.size} of ${wanted} elements`);
  await tab.context().close();
}

/** Tests the webhook and sends the failed message again. */
async function actions() {
  const tab = await opened(VIEWS[0]);
  await login(tab, setup.token);
  const test = tab.getByRole("button", { name: `Test the connection to ${setup.shown_webhook}` });
  await test.focus();
  await tab.keyboard.press("Enter");
  await tab.getByRole("cell", { name: "Reachable: 200" }).waitFor();
  browser.check((await tab.locator("#told").textContent()).includes("Reachable: 200"), "the result is not read out");
  browser.check(await test.evaluate((button) => button === document.activeElement), "the button lost the focus");
  await tab.getByText(/^1, last: 400, refused for good/).click();
  await browser.look(tab, "tested");
  await tab.getByRole("button", { name: new RegExp(`^Send again: ${setup.event} to `) }).click();
  await tab.locator("#told", { hasText: "is on its way again" }).waitFor();
  await tab.getByText("No message has failed for good.").waitFor();
  await browser.look(tab, "sent-again");
  await tab.context().close();
}

/** The page asks again at its interval, unless it is paused, and keeps the token in its tab. */
async function refreshing() {
  const tab = await browser.open(VIEWS[0], ["503", "ERR_FAILED"]);
  await tab.clock.install();
  let asked = 0;
  await tab.route("**/status?*", (route) => ((asked += 1), route.continue()));
  await tab.goto(setup.url);
  await login(tab, setup.token);
  await tab.locator("#status").waitFor();
  const once = async (what, act, more) => {
    const before = asked;
    await act();
    for (let wait = 0; wait < 100 && asked < before + more; wait += 1) await sleep(50);
    await sleep(150);
    browser.check(asked === before + more, `${what}: ${asked - before} questions instead of ${more}`);
  };
  await once("fifteen seconds", () => tab.clock.runFor(15_500), 1);
  await once("pause", () => tab.getByRole("button", { name: "Pause" }).click(), 0);
  await once("paused", () => tab.clock.runFor(120_000), 0);
  await once("refresh while paused", () => tab.getByRole("button", { name: "Refresh now" }).click(), 1);
  await once("go on", () => tab.getByRole("button", { name: "Pause" }).click(), 1);
  await once("another interval", () => tab.locator("#interval").selectOption("5"), 1);
  await once("five seconds", () => tab.clock.runFor(5500), 1);
  await once("reload", () => tab.reload().then(() => tab.locator("#status").waitFor()), 1);
  const kept = await tab.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length]);
  browser.check(`${kept}` === ",0,1", `the token is kept elsewhere: ${kept}`);
  await tab.unroute("**/status?*");
  await tab.route("**/status?*", (route) => route.abort());
  await tab.getByRole("button", { name: "Refresh now" }).click();
  await tab.getByText("The gateway does not answer.").waitFor();
  await browser.look(tab, "no-gateway");
  await tab.unroute("**/status?*");
  await tab.route("**/status?*", (route) => route.fulfill({ status: 503, body: "no healthy upstream" }));
  await tab.getByRole("button", { name: "Refresh now" }).click();
  await tab.getByText("The gateway answered 503").waitFor();
  await tab.unroute("**/status?*");
  await tab.getByRole("button", { name: "Refresh now" }).click();
  await tab.locator("#trouble").waitFor({ state: "hidden" });
  await tab.getByRole("button", { name: "Forget token" }).click();
  await tab.getByLabel("Admin token").waitFor();
  browser.check((await tab.evaluate(() => sessionStorage.length)) === 0, "the token is not forgotten");
  await tab.context().close();
}

/** What a gateway shows that has nothing to show, and one with much. */
async function fewAndMany() {
  const few = await changed(VIEWS[1], (body) => {
    Object.assign(body, { keys: [], keys_total: 0, organisations: [], failed: [], targets: [], webhooks: [] });
    Object.assign(body.deliveries, { held: 0, messages: [] });
  });
  await browser.look(few, "empty");
  await few.context().close();
  for (const view of [VIEWS[0], VIEWS[2]]) {
    const many = await changed(view, fillUp);
    browser.check((await many.locator("#usage tbody tr").count()) === 20, "the nearest twenty are shown first");
    await many.getByRole("button", { name: "Show 100 more" }).click();
    browser.check((await many.locator("#usage tbody tr").count()) === 120, "then a hundred more");
    const shares = await many.locator("#usage tbody b").allInnerTexts();
    const sorted = [...shares].sort((one, other) => parseInt(other) - parseInt(one));
    browser.check(`${shares}` === `${sorted}`, "the nearest to its limit is not first");
    await many.getByLabel("Find").fill("team-42");
    browser.check((await many.locator("#usage tbody tr").count()) === 2, "a name is found");
    await many.getByLabel("Find").fill("nobody of this name");
    await many.getByText("has this in its name").waitFor();
    await many.getByLabel("Find").fill("team-19");
    await browser.look(many, `full-${view.name}`);
    await many.context().close();
  }
}

function fillUp(body) {
  const at = (ms) => new Date(Date.parse(body.time) + ms).toISOString();
  const limit = (limit, max, used, ms) => ({ limit, max, used, remaining: max - used, renews: at(ms) });
  body.keys = Array.from({ length: 200 }, (_, n) => ({
    key: `sha256:${(n * 2654435761 % 4294967296).toString(16).padStart(8, "0").repeat(8)}`, alias: `team-${n}`, org: "acme",
    is_inactive: n % 50 === 3, expires: null,
    limits: [limit("quota", 20_000_000, n * 101_000, 86_400_000 * 3), { ...limit("rate", 100, n % 101, 900), api: "orders" }],
  }));
  body.keys_total = 250;
  const tried = Array.from({ length: 8 }, (_, n) => ({ time: at(-1000 * 4 ** (8 - n)), outcome: n < 7 ? "timed_out" : "server_error", status: n < 7 ? null : 503, took_ms: 30_000 }));
  const message = { event: "TriggerExceeded", handler: "monitor.configuration", host: "hooks.example.com", attempts: 11, tried, since: at(-90_000_000) };
  body.failed = Array.from({ length: 3 }, (_, n) => ({ ...message, id: `f${n}`, failed: at(-n * 4_000_000) }));
  body.deliveries = { held: 800, capacity: 1024, messages: [
    { ...message, id: "h", due: at(45_000), attempts: 3, tried: tried.slice(0, 3) },
    { id: "t", event: "AuthFailure", handler: "apis[orders].AuthFailure[0]", counts: 12_345, since: at(-40_000), due: at(20_000) },
  ] };
  body.targets = [
    { host: "hooks.slack.com", handlers: ["webhooks[slack]"], is_disabled: false, last: { time: at(-3000), outcome: "delivered", status: 200, took_ms: 87 } },
    { host: "hooks.example.com", handlers: ["monitor.configuration", "apis[orders].QuotaExceeded[0]"], is_disabled: false, last: tried[7] },
    { host: "old.example.com", handlers: ["apis[orders].AuthFailure[0]"], is_disabled: true, last: { time: at(-7_200_000), outcome: "gone", status: 410, took_ms: 12 } },
    { host: "api.sendgrid.com", handlers: ["email_backend"], is_disabled: false, last: null },
  ];
  body.webhooks = [{ name: "slack", host: "hooks.slack.com" }, { name: "crm", host: "crm.example.com" }];
  body.store = { cluster: "redis", is_answering: false, last_answer: at(-9000), failures: 18, trouble: "no connection", members: 3,
    calls: { answered: 123_456, mean_ms: 1, longest_ms: 41 }, leases: 212, stock: 4100, waiting: 2 };
}

for (const part of [everyView, keyboard, refreshing, fewAndMany, actions]) {
  try {
    await part();
  } catch (error) {
    browser.faults.push(`${part.name}: ${error.stack}`);
  }
}
const foreign = requests.map((request) => request.url()).filter((url) => !url.startsWith(new URL(setup.url).origin));
browser.check(foreign.length === 0, `asks others: ${foreign}`);
await browser.end();
