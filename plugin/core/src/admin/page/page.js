"use strict";
(() => {
  const TOKEN = "tollbell.token";
  // The most sessions in an answer, and the most answers for one view.
  const PAGE = 1000;
  const PAGES = 5;
  const FIRST_ROWS = 20;
  const OUTCOMES = {
    delivered: "delivered", refused: "refused for good", gone: "wants no more messages", not_started: "not sent: no cluster or no healthy host",
    no_response: "connection cut off", unreachable: "no connection", timed_out: "no answer in time", redirected: "redirects, which is not followed",
    throttled: "asks to slow down", server_error: "server error",
  };
  const by = (id) => document.getElementById(id);
  const state = { token: sessionStorage.getItem(TOKEN), data: null, at: null, timer: 0, rows: FIRST_ROWS, busy: new Set(), results: new Map(), round: 0 };

  // Makes an element. Texts go into text nodes only, so nothing that they contain is read as markup.
  function el(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [attribute, value] of Object.entries(attributes ?? {})) {
      if (value === true) element.setAttribute(attribute, "");
      else if (value !== false && value != null) element.setAttribute(attribute, value);
    }
    element.append(...children.filter((child) => child != null && child !== false && child !== ""));
    return element;
  }
  const visible = (text) => String(text ?? "").replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
  const said = (text) => el("bdi", null, visible(text));
  const small = (...children) => el("small", null, ...children);
  const number = (value) => Number(value).toLocaleString("en");
  const count = (value, one, many) => `${number(value)} ${value === 1 ? one : many}`;

  // Changes what is shown to what is wanted, and keeps the elements: focus and the place of a reader stay.
  const keyOf = (node) => node.dataset?.key;
  const isSame = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
  function morph(shown, wanted) {
    if (shown.nodeType === Node.TEXT_NODE) {
      if (shown.data !== wanted.data) shown.data = wanted.data;
      return;
    }
    for (const { name } of [...shown.attributes]) if (!wanted.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
    for (const { name, value } of wanted.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
    fill(shown, [...wanted.childNodes]);
  }
  function fill(parent, children) {
    const keys = new Set(children.map(keyOf));
    let next = parent.firstChild;
    for (const child of children) {
      while (next && keyOf(next) && !keys.has(keyOf(next))) {
        const gone = next;
        next = next.nextSibling;
        gone.remove();
      }
      let match = next;
      if (keyOf(child)) while (match && !isSame(match, child)) match = match.nextSibling;
      if (match && isSame(match, child)) {
        if (match === next) next = next.nextSibling;
        else parent.insertBefore(match, next);
        morph(match, child);
      } else {
        parent.insertBefore(child, next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }
  function show(id, ...children) {
    const focused = document.activeElement;
    fill(by(id), children.filter(Boolean));
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }

  const now = () => Date.parse(state.data.time);
  function span(ms) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= 2 * size || (seconds >= size && size > 60)) return `${Math.floor(seconds / size)} ${unit}`;
    return `${seconds} s`;
  }
  function when(text, ahead) {
    if (!text) return el("span", { class: "soft" }, "–");
    const ms = Date.parse(text) - now();
    const words = ahead ? (ms <= 0 ? "now" : `in ${span(ms)}`) : `${span(-ms)} ago`;
    return el("time", { class: "time", datetime: text, title: new Date(text).toLocaleString() }, words);
  }

  function table(name, heads, rows) {
    const head = heads.map(([text, kind]) => el("th", { scope: "col", role: "columnheader", class: kind === "n" ? "n" : null }, text || el("span", { class: "hide" }, "Action")));
    const body = rows.map(({ key, cells, kind }) =>
      el("tr", { role: "row", "data-key": key, class: kind }, ...cells.map((cell, place) => {
        const children = Array.isArray(cell) ? cell : [cell];
        return el("td", { role: "cell", "data-head": heads[place][0], class: heads[place][1] }, el("div", null, ...children));
      })));
    return el("table", { role: "table", "aria-labelledby": `h-${name}` }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head)), el("tbody", { role: "rowgroup" }, ...body));
  }
  const empty = (...text) => el("p", { class: "empty" }, ...text);

  function action(kind, name, text, label) {
    const key = `${kind} ${name}`;
    const result = state.results.get(key);
    return [
      el("button", { type: "button", "data-do": kind, "data-name": name, "aria-label": label, "aria-disabled": state.busy.has(key) }, state.busy.has(key) ? "…" : text),
      result && el("span", { class: `result ${result.kind}` }, visible(result.text)),
    ];
  }
  const lasted = (ms) => (ms < 1000 ? `${ms} ms` : `${number((ms / 1000).toFixed(1))} s`);
  const triedText = ({ outcome, status, took_ms: took }) =>
    [status && `${status}`, OUTCOMES[outcome] ?? outcome, took != null && `after ${lasted(took)}`].filter(Boolean).join(", ");
  function attempts(message) {
    const { attempts: made, tried, id, failed } = message;
    if (!made) return failed ? "none: the target was disabled" : "none yet";
    const list = tried.map((one) => el("li", { value: made - tried.length + 1 + tried.indexOf(one) }, when(one.time), `: ${triedText(one)}`));
    const last = tried.at(-1);
    return el("details", { "data-key": id }, el("summary", null, `${number(made)}${last ? `, last: ${triedText(last)}` : ""}`), el("ol", { class: "tried" }, ...list));
  }

  function limits() {
    const { keys, organisations } = state.data;
    const all = [];
    const add = (who, owner, key) => owner.limits.forEach((limit, place) => {
      const { max, used } = limit;
      all.push({ ...limit, who, owner, key: `${key} ${limit.limit} ${limit.api ?? ""} ${place}`, share: max > 0 ? used / max : 1 });
    });
    organisations.forEach((org) => add("organisation", org, `o ${org.id}`));
    keys.forEach((key) => add("key", key, key.key));
    return all.sort((one, other) => other.share - one.share || other.used - one.used);
  }
  const percent = (share) => `${share > 0 && share < 0.01 ? "<1" : Math.floor(share * 100)} %`;
  const heat = (share) => (share >= 1 ? "full" : share >= 0.8 ? "near" : null);
  function usageRow({ key, who, owner, limit, api, max, used, share, renews }) {
    const name = who === "organisation" ? owner.id : owner.alias;
    const of = who === "organisation"
      ? [said(name), small("organisation")]
      : [name ? said(name) : el("span", { class: "soft" }, "key without an alias"), small(el("code", { title: owner.key }, `${owner.key.slice(0, 19)}…`), owner.org && " of ", owner.org && said(owner.org))];
    const label = `${percent(share)} of the ${limit} of ${visible(name || owner.key)}`;
    const bar = el("div", { class: `use ${heat(share) ?? ""}` }, el("progress", { max: 1000, value: Math.round(Math.min(share, 1) * 1000), "aria-label": label }), el("b", null, percent(share)));
    return { key, cells: [of, [limit, owner.is_inactive && small("inactive"), api && small("of ", said(api))], bar, `${number(used)} of ${number(max)}`, when(renews, true)] };
  }
  function showUsage() {
    const wanted = by("find").value.trim().toLowerCase();
    const all = limits();
    const found = wanted ? all.filter(({ owner }) => [owner.id, owner.alias, owner.key, owner.org].some((text) => text?.toLowerCase().includes(wanted))) : all;
    if (!found.length) {
      show("usage", empty(wanted ? "No organisation or key with a limit has this in its name." : "No organisation and no key has a limit. Limits are quota_max and rate of keys, policies and organisations."));
      return;
    }
    const { keys, keys_total: total } = state.data;
    const rest = found.length - state.rows;
    const { observed } = state.data;
    show("usage",
      observed.length > 0 && el("p", { class: "problem" }, "Only observed, so nothing is refused: ", ...observed.flatMap((id, n) => [n > 0 && ", ", said(id)])),
      table("usage", [["Who"], ["Limit"], ["Use"], ["Used", "n"], ["Resets"]], found.slice(0, state.rows).map(usageRow)),
      el("p", { class: "soft" }, "The nearest to its limit is first.", keys.length < total && ` Read: ${number(keys.length)} of ${number(total)} keys.`, " ",
        rest > 0 && el("button", { type: "button", "data-do": "more" }, `Show ${number(Math.min(rest, 100))} more`)));
  }

  function showSums() {
    const { failed, targets, deliveries, store } = state.data;
    const all = limits();
    const near = all.filter(({ share }) => share >= 0.8).length;
    const full = all.filter(({ share }) => share >= 1).length;
    const disabled = targets.filter((target) => target.is_disabled).length;
    const failing = targets.filter(({ last, is_disabled: off }) => !off && last && last.outcome !== "delivered").length;
    const tile = (name, value, text, more, kind) => el("li", { "data-key": name }, el("a", { href: `#h-${name}`, class: kind }, el("b", null, value), text, small(more || "\u00a0")));
    show("sums",
      tile("usage", number(near), near === 1 ? "limit is near" : "limits are near", full ? `${number(full)} used up` : "80 % and more", full ? "bad" : near ? "near" : null),
      tile("failed", number(failed.length), failed.length === 1 ? "failed message" : "failed messages", failed.length ? "can be sent again" : "", failed.length ? "bad" : null),
      tile("held", deliveries.held == null ? "?" : number(deliveries.held), deliveries.held === 1 ? "held message" : "held messages", `room for ${number(deliveries.capacity)}`, deliveries.held >= deliveries.capacity * 0.75 ? "near" : null),
      tile("targets", number(targets.length), targets.length === 1 ? "target" : "targets", [failing && `${number(failing)} failing`, disabled && `${number(disabled)} disabled`].filter(Boolean).join(", "), disabled || failing ? "bad" : null),
      store && tile("fleet", number(store.members), store.members === 1 ? "gateway in the fleet" : "gateways in the fleet", store.is_answering ? "the store answers" : "the store does not answer", store.is_answering ? null : "bad"));
  }

  function showFailed() {
    const { failed } = state.data;
    const rows = failed.map((message) => ({
      key: message.id,
      cells: [[message.event, small(said(message.handler))], [said(message.host)], when(message.failed), attempts(message),
        action("resend", message.id, "Send again", `Send again: ${message.event} to ${visible(message.host)}`)],
    }));
    show("failed", rows.length ? table("failed", [["Message"], ["Target"], ["Failed"], ["Attempts"], ["", "act"]], rows) : empty("No message has failed for good."));
  }
  function showHeld() {
    const { messages, held } = state.data.deliveries;
    const rows = messages.map((message) => ({
      key: message.id,
      cells: [[message.event, small(said(message.handler))],
        message.counts == null ? said(message.host) : [`digest of ${count(message.counts, "event", "events")}`], when(message.since), when(message.due, true),
        message.counts == null ? attempts(message) : "–"],
    }));
    show("held",
      held == null ? el("p", { class: "problem" }, "Held messages cannot be read: see Envoy's log.") : rows.length ? table("held", [["Message"], ["For"], ["Held since"], ["Next attempt"], ["Attempts"]], rows) : empty("No message waits: all have been delivered or have failed."),
      rows.length > 0 && rows.length < held && el("p", { class: "soft" }, `${number(held - rows.length)} more are held.`));
  }
  function showTargets() {
    const rows = state.data.targets.map(({ host, handlers, is_disabled: off, last }) => {
      const good = last?.outcome === "delivered";
      const what = off
        ? [el("span", { class: "tag wrong" }, "disabled"), small("It answered 410 Gone. A change of the configuration enables it.")]
        : last ? [el("span", { class: `tag ${good ? "well" : "wrong"}` }, good ? "delivered" : "failed"), small(triedText(last))] : el("span", { class: "soft" }, "no attempt yet");
      return { key: `${host} ${handlers[0]}`, cells: [said(host), handlers.flatMap((name) => [el("div", null, said(name))]), what, last ? when(last.time) : "–"] };
    });
    show("targets", rows.length ? table("targets", [["Target"], ["Handlers"], ["Last attempt"], ["When"]], rows) : empty("No handler sends messages. Handlers are in event_handlers, monitor, event_options and webhooks."));
  }
  function showWebhooks() {
    const rows = state.data.webhooks.map(({ name, host }) => ({
      key: name, cells: [said(name), said(host), action("test", name, "Test", `Test the connection to ${visible(name)}`)],
    }));
    show("webhooks", rows.length ? table("webhooks", [["Name"], ["Target"], ["", "act"]], rows) : empty("No webhook has a name: webhooks lists those that can be tested here."));
  }
  function showStore() {
    const { store } = state.data;
    by("fleet").hidden = !store;
    if (!store) return;
    const line = (name, ...value) => [el("dt", null, name), el("dd", null, ...value)];
    show("store",
      !store.is_answering && el("p", { class: "problem" }, `The store does not answer: ${count(store.failures, "call has", "calls have")} failed in a row. `, said(store.trouble)),
      el("dl", null,
        ...line("Gateways", number(store.members)), ...line("Cluster", said(store.cluster)), ...line("Last answer", when(store.last_answer)),
        ...line("Calls of this worker", `${number(store.calls.answered)}, ${number(store.calls.mean_ms)} ms on average, ${number(store.calls.longest_ms)} ms at most`),
        ...line("Leases of this worker", `${number(store.leases)}, with ${count(store.stock, "request", "requests")}`), ...line("Waiting requests", number(store.waiting))));
  }
  function showAll() {
    if (!state.data) return;
    showSums();
    showUsage();
    showFailed();
    showHeld();
    showTargets();
    showWebhooks();
    showStore();
    by("about").textContent = `tollbell ${state.data.version}. Keys appear as the beginning of their SHA-256, targets as their hosts.`;
    showFresh();
  }
  const isPaused = () => by("pause").getAttribute("aria-pressed") === "true";
  function showFresh() {
    const at = state.at?.toLocaleTimeString();
    by("fresh").textContent = at ? `${isPaused() ? "Paused at" : "As of"} ${at}` : "";
  }

  async function ask(path, method) {
    const answer = await fetch(path, { method: method ?? "GET", headers: { authorization: `Bearer ${state.token}` }, cache: "no-store", credentials: "omit", redirect: "error" });
    const body = await answer.json().catch(() => null);
    return { status: answer.status, body };
  }
  function trouble(text) {
    by("trouble").textContent = text;
    by("trouble").hidden = !text;
  }
  // Says the result of an action. The row of a message that is sent again goes away, so that this is shown, too.
  function tell(text, isShown) {
    by("told").className = isShown ? "" : "hide";
    by("told").textContent = text;
    clearTimeout(state.telling);
    state.telling = setTimeout(() => (by("told").textContent = ""), 8000);
  }
  const stale = () => (state.at ? ` The page shows what it knew at ${state.at.toLocaleTimeString()}.` : "");

  function leave(why) {
    sessionStorage.removeItem(TOKEN);
    clearTimeout(state.timer);
    Object.assign(state, { token: null, data: null, at: null, round: state.round + 1 });
    state.results.clear();
    by("status").hidden = by("controls").hidden = true;
    by("login").hidden = false;
    by("token").value = "";
    by("about").textContent = "";
    trouble(why);
    by("token").focus();
  }
  // Reads the status. Keys come in parts.
  async function read() {
    let data = null;
    for (let part = 0; part < PAGES; part += 1) {
      const { status, body } = await ask(`status?limit=${PAGE}&offset=${part * PAGE}`);
      if (status !== 200 || !body) return { status };
      if (data) data.keys.push(...body.keys);
      else data = body;
      if (data.keys.length >= body.keys_total || !body.keys.length) break;
    }
    return { status: 200, data };
  }
  async function refresh() {
    clearTimeout(state.timer);
    const round = (state.round += 1);
    let found;
    try {
      found = await read();
    } catch {
      found = { status: 0 };
    }
    // Another refresh has begun meanwhile, or the token was forgotten.
    if (round !== state.round) return;
    const { status, data } = found;
    if (status === 401) return leave("The gateway does not accept this token. Compare its SHA-256 with admin.token_sha256: printf %s \"$token\" | sha256sum");
    if (status === 200) {
      Object.assign(state, { data, at: new Date() });
      sessionStorage.setItem(TOKEN, state.token);
      by("login").hidden = true;
      by("status").hidden = by("controls").hidden = false;
      trouble("");
      showAll();
    } else if (status === 0) {
      trouble(`The gateway does not answer. Is Envoy running?${stale()}`);
    } else {
      trouble(`The gateway answered ${status} instead of its status.${stale()}`);
    }
    if (state.token && !isPaused() && !by("controls").hidden) state.timer = setTimeout(refresh, by("interval").value * 1000);
  }

  async function act(kind, name) {
    const key = `${kind} ${name}`;
    if (state.busy.has(key)) return;
    state.busy.add(key);
    state.results.delete(key);
    showAll();
    let result;
    try {
      const path = kind === "test" ? `webhooks/${encodeURIComponent(name)}/test` : `messages/${encodeURIComponent(name)}/resend`;
      const { status, body } = await ask(path, "POST");
      if (status === 401) return leave("The gateway no longer accepts this token.");
      if (kind === "resend" && status === 202) result = { kind: "well", text: `The message to ${body.host} is on its way again.` };
      else if (status === 200 && body?.reachable) result = { kind: body.status < 400 ? "well" : "warn", text: `Reachable: ${body.status} in ${lasted(body.took_ms)}` };
      else if (status === 200 && body) result = { kind: "wrong", text: `Not reachable: ${body.error}` };
      else result = { kind: "wrong", text: body?.error ?? `The gateway answered ${status}.` };
    } catch {
      result = { kind: "wrong", text: "The gateway does not answer." };
    } finally {
      state.busy.delete(key);
    }
    state.results.set(key, result);
    tell(visible(`${kind === "test" ? `${name}: ` : ""}${result.text}`), kind === "resend");
    showAll();
    if (kind === "resend") {
      const focused = document.activeElement;
      await refresh();
      // The row of the message has gone, with its button.
      if (!focused.isConnected) by("h-failed").focus();
    }
  }

  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("[data-do]");
    if (!button) return;
    const { do: kind, name } = button.dataset;
    if (kind === "more") {
      state.rows += 100;
      showUsage();
    } else {
      act(kind, name);
    }
  });
  by("login").addEventListener("submit", (event) => {
    event.preventDefault();
    state.token = by("token").value.trim();
    trouble("");
    refresh();
  });
  by("pause").addEventListener("click", () => {
    by("pause").setAttribute("aria-pressed", String(!isPaused()));
    clearTimeout(state.timer);
    showFresh();
    if (!isPaused()) refresh();
  });
  by("now").addEventListener("click", refresh);
  by("interval").addEventListener("change", () => isPaused() || refresh());
  by("leave").addEventListener("click", () => leave(""));
  by("find").addEventListener("input", () => state.data && showUsage());
  document.addEventListener("visibilitychange", () => {
    if (!state.token || isPaused()) return;
    if (document.hidden) clearTimeout(state.timer);
    else refresh();
  });

  if (state.token) {
    by("controls").hidden = false;
    refresh();
  } else {
    leave("");
  }
})();
