// The guest of the comparison, on the AssemblyScript SDK. tests/guests/README.md describes it.
export * from "@solo-io/proxy-runtime/proxy";
import {
  BaseContext, Context, Counter, FilterDataStatusValues, FilterHeadersStatusValues, FilterTrailersStatusValues, Gauge,
  GrpcStatusValues, HeaderPair, Headers, LogLevelValues, RootContext, log, registerRootContext, send_local_response,
  stream_context
} from "@solo-io/proxy-runtime";
import * as host from "@solo-io/proxy-runtime/imports";
import { BufferTypeValues, Reference, get_buffer_bytes, set_tick_period_milliseconds } from "@solo-io/proxy-runtime/runtime";

// The SDK does not declare this one.
// @ts-ignore: decorator
@external("env", "proxy_set_buffer_bytes")
declare function proxy_set_buffer_bytes(kind: i32, start: u32, length: u32, bytes: usize, size: usize): u32;

function info(text: string): void {
  log(LogLevelValues.info, text);
}

function header(name: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(name), String.UTF8.encode(value));
}

/** Bytes that are not printable are shown as numbers. */
function text(bytes: ArrayBuffer): string {
  let shown = "";
  let all = Uint8Array.wrap(bytes);
  for (let i = 0; i < all.length; i++) {
    shown += all[i] >= 32 && all[i] < 127 ? String.fromCharCode(all[i]) : "\\" + all[i].toString();
  }
  return shown;
}

function shown(headers: Headers): string {
  let pairs = new Array<string>();
  for (let i = 0; i < headers.length; i++) {
    pairs.push(text(headers[i].key) + "=" + text(headers[i].value));
  }
  return pairs.join(" ");
}

function upper(bytes: ArrayBuffer): ArrayBuffer {
  let changed = Uint8Array.wrap(bytes.slice(0));
  for (let i = 0; i < changed.length; i++) {
    if (changed[i] >= 97 && changed[i] <= 122) {
      changed[i] = changed[i] - 32;
    }
  }
  return changed.buffer;
}

function set_buffer(kind: BufferTypeValues, start: u32, length: u32, bytes: ArrayBuffer): void {
  let status = proxy_set_buffer_bytes(kind, start, length, changetype<usize>(bytes), bytes.byteLength);
  if (status != 0) {
    log(LogLevelValues.error, "unexpected status " + status.toString());
  }
}

/** The SDK's own functions for shared data pass no compare-and-swap. */
function count(): u64 {
  let key = String.UTF8.encode("count");
  let place = new Reference<usize>();
  let size = new Reference<usize>();
  let cas = new Reference<u32>();
  while (true) {
    let value = new ArrayBuffer(8);
    let found = host.proxy_get_shared_data(changetype<usize>(key), key.byteLength, place.ptr(), size.ptr(), cas.ptr());
    let counted: u64 = found == 0 && size.data == 8 ? load<u64>(place.data) + 1 : 1;
    store<u64>(changetype<usize>(value), counted);
    let expected = found == 0 ? cas.data : 0;
    let stored = host.proxy_set_shared_data(changetype<usize>(key), key.byteLength, changetype<usize>(value), 8, expected);
    if (stored == 0) {
      return counted;
    }
  }
}

class Root extends RootContext {
  requests: Counter | null;
  last: Gauge | null;

  onConfigure(size: u32): bool {
    let configuration = get_buffer_bytes(BufferTypeValues.PluginConfiguration, 0, size);
    info("setup: configured with " + text(configuration));
    this.requests = new Counter("guest_requests");
    this.last = new Gauge("guest_last");
    set_tick_period_milliseconds(50);
    return true;
  }

  onTick(): void {
    info("setup: ticked");
    set_tick_period_milliseconds(0);
  }

  createContext(id: u32): Context {
    return new Stream(id, this);
  }
}

class Stream extends Context {
  root: Root;
  // The value of the header x-do.
  task: Array<string> = [];
  // The status of the callout's response.
  call: string = "none";

  constructor(id: u32, root: Root) {
    super(id, root);
    this.root = root;
  }

  does(task: string): bool {
    return this.task.includes(task);
  }

  onRequestHeaders(_: u32, end: bool): FilterHeadersStatusValues {
    let headers = stream_context.headers.request;
    this.task = headers.get("x-do").split(" ");
    info("request headers, end " + end.toString() + ": " + shown(headers.get_headers()));
    this.root.requests!.increment(1);
    let last = this.root.last!;
    last.record(last.metric_id, count());
    headers.replace("x-guest", "assemblyscript");
    headers.add("x-added", "one");
    headers.add("x-added", "two");
    headers.remove("x-drop");
    if (this.does("respond")) {
      let answer = [header("x-refused", "yes"), header("content-type", "text/plain")];
      send_local_response(403, "", String.UTF8.encode("refused\n"), answer, GrpcStatusValues.InvalidCode);
      return FilterHeadersStatusValues.StopIteration;
    }
    if (this.does("hold") || this.does("change")) {
      headers.remove("content-length");
    }
    if (this.does("call") || this.does("call-nowhere")) {
      let cluster = this.does("call") ? "callout" : "nowhere";
      let request = [
        header(":method", "POST"), header(":path", "/call"), header(":authority", "callout.test"), header("x-from", "guest")
      ];
      let status = this.root_context.httpCall(
        cluster, request, String.UTF8.encode("question"), [], 2000, this,
        (origin: BaseContext, count: u32, size: usize, trailers: u32): void => {
          (origin as Stream).called(count, size as u32, trailers);
        }
      );
      if (status == 0) {
        return FilterHeadersStatusValues.StopIteration;
      }
      info("callout refused: " + status.toString());
    }
    return FilterHeadersStatusValues.Continue;
  }

  called(headers: u32, size: u32, trailers: u32): void {
    let status = stream_context.headers.http_callback.get(":status");
    this.call = status == "" ? "missing" : status;
    let body = get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, size);
    info("callout: " + this.call + " with " + headers.toString() + " headers, " + text(body) + ", " + trailers.toString() + " trailers");
    stream_context.headers.request.replace("x-call", this.call);
    this.continueRequest();
  }

  onRequestBody(size: usize, end: bool): FilterDataStatusValues {
    if (this.does("respond-body")) {
      send_local_response(413, "", String.UTF8.encode("no body\n"), [header("x-refused", "body")], GrpcStatusValues.InvalidCode);
      return FilterDataStatusValues.StopIterationNoBuffer;
    }
    if (this.does("hold") && !end) {
      return FilterDataStatusValues.StopIterationAndBuffer;
    }
    if (this.does("hold")) {
      let body = get_buffer_bytes(BufferTypeValues.HttpRequestBody, 0, size as u32);
      info("request body: " + size.toString() + " bytes");
      set_buffer(BufferTypeValues.HttpRequestBody, 0, size as u32, upper(body));
    }
    if (this.does("change") && end) {
      set_buffer(BufferTypeValues.HttpRequestBody, size as u32, 0, String.UTF8.encode("<end>"));
    }
    return FilterDataStatusValues.Continue;
  }

  onRequestTrailers(_: u32): FilterTrailersStatusValues {
    info("request trailers: " + shown(stream_context.trailers.request.get_headers()));
    stream_context.trailers.request.add("x-guest-trailer", "request");
    return FilterTrailersStatusValues.Continue;
  }

  onResponseHeaders(_: u32, end: bool): FilterHeadersStatusValues {
    let headers = stream_context.headers.response;
    info("response headers, end " + end.toString() + ": " + shown(headers.get_headers()));
    headers.replace("x-guest", "assemblyscript");
    headers.remove("x-powered-by");
    if (this.does("response-respond")) {
      send_local_response(502, "", String.UTF8.encode("bad answer\n"), [header("x-refused", "response")], GrpcStatusValues.InvalidCode);
      return FilterHeadersStatusValues.StopIteration;
    }
    if (this.does("response-hold") || this.does("response-change")) {
      headers.remove("content-length");
    }
    if (this.does("response-hold") && this.does("stop") && !end) {
      return FilterHeadersStatusValues.StopIteration;
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, end: bool): FilterDataStatusValues {
    if (this.does("response-hold") && !end) {
      return FilterDataStatusValues.StopIterationAndBuffer;
    }
    if (this.does("response-hold")) {
      let body = get_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, size as u32);
      info("response body: " + size.toString() + " bytes");
      set_buffer(BufferTypeValues.HttpResponseBody, 0, size as u32, upper(body));
    }
    if (this.does("response-change") && end) {
      set_buffer(BufferTypeValues.HttpResponseBody, size as u32, 0, String.UTF8.encode("<end>"));
    }
    return FilterDataStatusValues.Continue;
  }

  onResponseTrailers(_: u32): FilterTrailersStatusValues {
    info("response trailers: " + shown(stream_context.trailers.response.get_headers()));
    stream_context.trailers.response.add("x-guest-trailer", "response");
    return FilterTrailersStatusValues.Continue;
  }

  onLog(): void {
    info("done: call " + this.call);
  }
}

registerRootContext((id: u32): RootContext => new Root(id), "");
