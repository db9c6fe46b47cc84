"""Writes an access log of a month, and calculates by itself what tollbell must find in it.

    access_log.py write --requests N --burst N --seed N --format json|text --out FILE[.gz]
    access_log.py check --requests N --burst N --seed N --results results.json

Both make the same requests from the seed. `check` counts them by the rules of docs/limits.md, without anything of
tollbell, and compares who crossed which threshold at which request, who was refused and how often, and the highest use
of each quota with the results of `tollbell rehearse --json`.
"""

import argparse
import datetime
import gzip
import hashlib
import json
import random
import sys

START = 1_793_491_200_000  # 2026-11-01T00:00:00Z, in milliseconds
MONTH = 30 * 86_400_000
BURST_START = START + 14 * 86_400_000 + 43_200_000
BURST_LENGTH = 60_000

# organisation: (quota, window in seconds, thresholds)
ORGS = {
    "acme": (4_000, 3_600, (75, 90)),
    "globex": (60_000, 86_400, (50, 80)),
    "initech": (900_000, 30 * 86_400, (25, 50, 75)),
}
KEYS = 120


def scaled(requests, number):
    """The quotas fit a log of ten million requests. A smaller log has smaller ones."""
    return max(10, number * requests // 10_000_000)


def orgs(requests):
    return {name: (scaled(requests, quota * 10), window, limits) for name, (quota, window, limits) in ORGS.items()}


def keys(requests):
    """The sessions, by key."""
    sessions = {}
    for number in range(KEYS):
        org = list(ORGS)[number % len(ORGS)]
        window = (3_600, 86_400, 600)[number // 3 % 3]
        quota = scaled(requests, (9_000, 150_000, 2_500)[number // 3 % 3] * (1 + number % 4))
        sessions[f"key-{number}"] = (org, quota, window, (50, 80, 100) if number % 2 else (80,))
    return sessions


def configuration(requests):
    """tollbell's configuration for this log."""
    return {
        "apis": [{"api_id": "orders", "listen_path": "/"}],
        "orgs": {
            name: {"quota_max": quota, "quota_renewal_rate": window, "monitor": {"trigger_limits": list(limits)}}
            for name, (quota, window, limits) in orgs(requests).items()
        },
        "enforce_org_quotas": True,
        "keys": {
            key: {"org_id": org, "quota_max": quota, "quota_renewal_rate": window,
                  "monitor": {"trigger_limits": list(limits)}}
            for key, (org, quota, window, limits) in keys(requests).items()
        },
        "monitor": {
            "enable_trigger_monitors": True, "monitor_user_keys": True, "monitor_org_keys": True,
            "configuration": {"method": "POST", "target_path": "http://127.0.0.1:10002/monitor", "event_timeout": 0},
        },
    }


def envoy(own):
    """An Envoy configuration with this configuration of tollbell."""
    types = "type.googleapis.com/"
    code = {"local": {"filename": "dist/tollbell.wasm"}}
    wasm = {"@type": types + "envoy.extensions.filters.http.wasm.v3.Wasm", "config": {
        "name": "tollbell",
        "vm_config": {"vm_id": "tollbell", "runtime": "envoy.wasm.runtime.v8", "code": code},
        "configuration": {"@type": types + "google.protobuf.StringValue", "value": json.dumps(own)},
    }}
    router = {"@type": types + "envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": types + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
        "http_filters": [{"name": "tollbell", "typed_config": wasm}, {"name": "router", "typed_config": router}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 10000}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"static_resources": {
        "listeners": [{"name": "gateway", "address": address,
                       "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": [{"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}
                     for name in ("upstream", "tollbell_http")],
    }}


def requests_of(count, burst, seed):
    """All requests as (milliseconds, key), in the order in which they began. Some keys are unknown."""
    chance = random.Random(seed)
    quiet = count - burst
    # Gaps between requests: exponential, so that windows differ, without a list of all times.
    mean = MONTH / quiet
    now = float(START)
    left_of_burst = burst
    times = burst_times(burst, chance)
    following = next(times, None)
    while quiet > 0:
        now += chance.expovariate(1.0) * mean
        while following is not None and following <= now:
            yield following, key_of(chance, in_burst=True)
            left_of_burst -= 1
            following = next(times, None)
        yield int(now), key_of(chance, in_burst=False)
        quiet -= 1
    while following is not None:
        yield following, key_of(chance, in_burst=True)
        following = next(times, None)


def burst_times(burst, chance):
    now = float(BURST_START)
    for _ in range(burst):
        now += chance.random() * 2 * BURST_LENGTH / burst
        yield int(now)


def key_of(chance, in_burst):
    draw = chance.random()
    if draw < 0.001:
        return f"wrong-{int(draw * 30_000)}"
    # A few keys have most of the use.
    number = int(KEYS * chance.random() ** 3)
    return f"key-{number % 6 if in_burst else number}"


def rfc3339(millis):
    time = datetime.datetime.fromtimestamp(millis // 1000, datetime.timezone.utc)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{millis % 1000:03d}Z"


def write(options):
    opened = gzip.open if options.out.endswith(".gz") else open
    chance = random.Random(options.seed + 1)
    held = []
    with opened(options.out, "wt", encoding="utf-8") as log:
        for number, (time, key) in enumerate(requests_of(options.requests, options.burst, options.seed)):
            line = line_of(options.format, number, time, key)
            # Some requests last up to half a minute, and so have their lines later.
            while held and held[0][0] <= time:
                log.write(held.pop(0)[1])
            if chance.random() < 0.002 and len(held) < 100:
                held.append((time + chance.randrange(30_000), line))
                held.sort()
            else:
                log.write(line)
        log.writelines(line for _, line in held)


def line_of(form, number, time, key):
    address = f"192.0.2.{number % 250}:{40_000 + number % 20_000}"
    path = f"/orders/{number}?page={number % 7}"
    if form == "text":
        return (f'[{rfc3339(time)}] "GET {path} HTTP/1.1" 200 - 0 512 3 2 "-" "agent/1.0 (test)" "id-{number}" '
                f'"api.example.com" "10.0.0.1:8080" {key}\n')
    return (f'{{"start_time":"{rfc3339(time)}","method":"GET","path":"{path}","protocol":"HTTP/1.1",'
            f'"response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":512,"duration":3,'
            f'"user_agent":"agent/1.0 (test)","request_id":"id-{number}","authority":"api.example.com",'
            f'"downstream_remote_address":"{address}","api_key":"{key}"}}\n')


class Quota:
    """A fixed window that starts at its first counted request."""

    def __init__(self, quota, window, limits):
        self.max, self.window = quota, window * 1000
        # A threshold is crossed by the request that takes the count to its share or above, the share rounded up.
        self.limits = sorted((-(-quota * limit // 100), limit) for limit in limits)
        self.started = self.count = self.highest = self.windows = 0
        self.told = -1

    def renew(self, now):
        if self.windows == 0 or now - self.started >= self.window:
            self.started, self.count, self.told = now, 0, -1
            return True
        return False

    def is_used_up(self, now):
        is_over = self.windows == 0 or now - self.started >= self.window
        return not is_over and self.count >= self.max

    def add(self, now):
        """Counts a request. Returns the threshold that it crosses, the highest of several."""
        if self.renew(now):
            self.windows += 1
        self.count += 1
        self.highest = max(self.highest, self.count)
        crossed = [limit for at, limit in self.limits if at <= self.count and limit > self.told]
        if not crossed:
            return None
        self.told = crossed[-1]
        return self.told


def calculate(options):
    of_orgs = {name: Quota(*rule) for name, rule in orgs(options.requests).items()}
    sessions = keys(options.requests)
    of_keys = {key: Quota(*rule[1:]) for key, rule in sessions.items()}
    crossings, refusals, outcomes = [], {}, {}
    for now, key in requests_of(options.requests, options.burst, options.seed):
        if key not in sessions:
            outcome, org = "unknown_key", ""
        else:
            org = sessions[key][0]
            if of_orgs[org].is_used_up(now):
                outcome = "org_quota_exceeded"
            elif of_keys[key].is_used_up(now):
                outcome = "quota_exceeded"
            else:
                outcome = "admitted"
                for owner, name, quota in (("organisation", org, of_orgs[org]), ("key", fingerprint(key), of_keys[key])):
                    limit = quota.add(now)
                    if limit is not None:
                        crossings.append((rfc3339(now), owner, name, str(limit), quota.count, quota.max))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome != "admitted":
            who = fingerprint(key) if outcome != "org_quota_exceeded" else ""
            count, first, _ = refusals.get((outcome, org, who), (0, now, now))
            refusals[(outcome, org, who)] = (count + 1, first, now)
    uses = {("organisation", name): (quota.highest, quota.windows) for name, quota in of_orgs.items() if quota.windows}
    uses |= {("key", fingerprint(key)): (quota.highest, quota.windows) for key, quota in of_keys.items() if quota.windows}
    refusals = {who: (count, rfc3339(first), rfc3339(last)) for who, (count, first, last) in refusals.items()}
    return crossings, outcomes, refusals, uses


def fingerprint(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def check(options):
    with open(options.results, encoding="utf-8") as file:
        found = json.load(file)["runs"][0]
    crossings, outcomes, refusals, uses = calculate(options)
    listed = [(c["time"], c["owner"], c["name"], c["trigger_limit"], c["used"], c["max"]) for c in found["crossings"]]
    compare("crossings", sorted(crossings)[: len(listed)] if found["crossings_not_listed"] else sorted(crossings), sorted(listed))
    assert len(listed) + found["crossings_not_listed"] == len(crossings), (len(listed), len(crossings))
    compare("outcomes", outcomes, found["outcomes"])
    told = {(r["reason"], r["org"], r["key"]): (r["requests"], r["first"], r["last"]) for r in found["refusals"]}
    compare("refusals", refusals, told)
    compare("uses", uses, {(q["owner"], q["name"]): (q["highest"], q["windows"]) for q in found["quotas"]})
    sent = sum(m["sent"] for m in found["messages"] if m["event"] == "TriggerExceeded")
    held_back = sum(sum(m["held_back"].values()) for m in found["messages"] if m["event"] == "TriggerExceeded")
    assert sent + held_back == len(crossings), (sent, held_back, len(crossings))
    print(f"{found['requests']} requests, {len(crossings)} crossings, {sum(outcomes.values()) - outcomes['admitted']} refused: agree")


def compare(what, expected, found):
    if expected == found:
        return
    if isinstance(expected, dict):
        expected, found = sorted(expected.items()), sorted(found.items())
    missing = [one for one in expected if one not in found][:5]
    wrong = [one for one in found if one not in expected][:5]
    sys.exit(f"{what} differ: {len(expected)} expected, {len(found)} found\n  missing {missing}\n  wrong {wrong}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["write", "check", "configuration"])
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--burst", type=int, required=True)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--format", choices=["json", "text"], default="json")
    parser.add_argument("--out", default="access.log")
    parser.add_argument("--results", default="results.json")
    parser.add_argument("--envoy", action="store_true", help="the whole Envoy configuration, as JSON")
    options = parser.parse_args()
    if options.command == "configuration":
        own = configuration(options.requests)
        json.dump(envoy(own) if options.envoy else own, sys.stdout, indent=1)
    else:
        {"write": write, "check": check}[options.command](options)


if __name__ == "__main__":
    main()
