// The guest of the comparison, on the Go SDK. tests/guests/README.md describes it.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	requests proxywasm.MetricCounter
	last     proxywasm.MetricGauge
	sizes    proxywasm.MetricHistogram
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	configuration, err := proxywasm.GetPluginConfiguration()
	proxywasm.LogInfof("setup: configured with %s, %v", configuration, err)
	p.requests = proxywasm.DefineCounterMetric("guest_requests")
	p.last = proxywasm.DefineGaugeMetric("guest_last")
	p.sizes = proxywasm.DefineHistogramMetric("guest_sizes")
	check(proxywasm.SetTickPeriodMilliSeconds(50))
	return types.OnPluginStartStatusOK
}

func (*plugin) OnTick() {
	proxywasm.LogInfo("setup: ticked")
	check(proxywasm.SetTickPeriodMilliSeconds(0))
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p, call: "none"} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	// The value of the header x-do.
	task string
	// The status of the callout's response.
	call string
}

func check(err error) {
	if err != nil {
		proxywasm.LogErrorf("unexpected: %v", err)
	}
}

func (s *stream) does(task string) bool {
	for _, word := range strings.Fields(s.task) {
		if word == task {
			return true
		}
	}
	return false
}

func (s *stream) count() uint64 {
	for {
		value, cas, err := proxywasm.GetSharedData("count")
		count := uint64(1)
		if err == nil && len(value) == 8 {
			count = binary.LittleEndian.Uint64(value) + 1
		}
		err = proxywasm.SetSharedData("count", binary.LittleEndian.AppendUint64(nil, count), cas)
		if !errors.Is(err, types.ErrorStatusCasMismatch) {
			check(err)
			return count
		}
	}
}

func shown(headers [][2]string, err error) string {
	if err != nil {
		return err.Error()
	}
	pairs := make([]string, 0, len(headers))
	for _, header := range headers {
		pairs = append(pairs, header[0]+"="+header[1])
	}
	return fmt.Sprintf("%+q", strings.Join(pairs, " "))
}

func (s *stream) OnHttpRequestHeaders(_ int, end bool) types.Action {
	s.task, _ = proxywasm.GetHttpRequestHeader("x-do")
	proxywasm.LogInfof("request headers, end %v: %s", end, shown(proxywasm.GetHttpRequestHeaders()))
	s.plugin.requests.Increment(1)
	s.plugin.last.Add(int64(s.count()) - s.plugin.last.Value())
	check(proxywasm.ReplaceHttpRequestHeader("x-guest", "go"))
	check(proxywasm.AddHttpRequestHeader("x-added", "one"))
	check(proxywasm.AddHttpRequestHeader("x-added", "two"))
	check(proxywasm.RemoveHttpRequestHeader("x-drop"))
	if s.does("respond") {
		headers := [][2]string{{"x-refused", "yes"}, {"content-type", "text/plain"}}
		check(proxywasm.SendHttpResponse(403, headers, []byte("refused\n"), -1))
		return types.ActionPause
	}
	if s.does("hold") || s.does("change") {
		check(proxywasm.RemoveHttpRequestHeader("content-length"))
	}
	if s.does("call") || s.does("call-nowhere") {
		cluster := "nowhere"
		if s.does("call") {
			cluster = "callout"
		}
		headers := [][2]string{{":method", "POST"}, {":path", "/call"}, {":authority", "callout.test"}, {"x-from", "guest"}}
		_, err := proxywasm.DispatchHttpCall(cluster, headers, []byte("question"), nil, 2000, s.called)
		if err == nil {
			return types.ActionPause
		}
		proxywasm.LogInfof("callout refused: %v", err)
	}
	return types.ActionContinue
}

func (s *stream) called(headers, bodySize, trailers int) {
	answer, err := proxywasm.GetHttpCallResponseHeaders()
	check(err)
	s.call = "missing"
	for _, header := range answer {
		if header[0] == ":status" {
			s.call = header[1]
		}
	}
	body, err := proxywasm.GetHttpCallResponseBody(0, bodySize)
	proxywasm.LogInfof("callout: %s with %d headers, %q, %v, %d trailers", s.call, headers, body, err, trailers)
	check(proxywasm.ReplaceHttpRequestHeader("x-call", s.call))
	check(proxywasm.ResumeHttpRequest())
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	if s.does("respond-body") {
		check(proxywasm.SendHttpResponse(413, [][2]string{{"x-refused", "body"}}, []byte("no body\n"), -1))
		return types.ActionPause
	}
	if s.does("hold") && !end {
		return types.ActionPause
	}
	if s.does("hold") {
		body, err := proxywasm.GetHttpRequestBody(0, size)
		proxywasm.LogInfof("request body: %d bytes of %d, %v", len(body), size, err)
		check(proxywasm.ReplaceHttpRequestBody(bytes.ToUpper(body)))
	}
	if s.does("change") && end {
		check(proxywasm.AppendHttpRequestBody([]byte("<end>")))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(int) types.Action {
	proxywasm.LogInfof("request trailers: %s", shown(proxywasm.GetHttpRequestTrailers()))
	check(proxywasm.AddHttpRequestTrailer("x-guest-trailer", "request"))
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(_ int, end bool) types.Action {
	proxywasm.LogInfof("response headers, end %v: %s", end, shown(proxywasm.GetHttpResponseHeaders()))
	check(proxywasm.ReplaceHttpResponseHeader("x-guest", "go"))
	check(proxywasm.RemoveHttpResponseHeader("x-powered-by"))
	if s.does("response-respond") {
		check(proxywasm.SendHttpResponse(502, [][2]string{{"x-refused", "response"}}, []byte("bad answer\n"), -1))
		return types.ActionPause
	}
	if s.does("response-hold") || s.does("response-change") {
		check(proxywasm.RemoveHttpResponseHeader("content-length"))
	}
	if s.does("response-hold") && s.does("stop") && !end {
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	if s.does("response-hold") && !end {
		return types.ActionPause
	}
	if s.does("response-hold") {
		body, err := proxywasm.GetHttpResponseBody(0, size)
		proxywasm.LogInfof("response body: %d bytes of %d, %v", len(body), size, err)
		check(proxywasm.ReplaceHttpResponseBody(bytes.ToUpper(body)))
		s.plugin.sizes.Record(uint64(len(body)))
	}
	if s.does("response-change") && end {
		check(proxywasm.AppendHttpResponseBody([]byte("<end>")))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(int) types.Action {
	proxywasm.LogInfof("response trailers: %s", shown(proxywasm.GetHttpResponseTrailers()))
	check(proxywasm.AddHttpResponseTrailer("x-guest-trailer", "response"))
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	text := func(path ...string) string {
		value, err := proxywasm.GetProperty(path)
		if err != nil {
			return "none"
		}
		return string(value)
	}
	code := int64(-1)
	if value, err := proxywasm.GetProperty([]string{"response", "code"}); err == nil && len(value) == 8 {
		code = int64(binary.LittleEndian.Uint64(value))
	}
	proxywasm.LogInfof("done: code %d, details %s, protocol %s, call %s", code,
		text("response", "code_details"), text("request", "protocol"), s.call)
}
