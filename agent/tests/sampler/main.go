// Command sampler prints what the samplers of the OpenTelemetry Go SDK decide, for agent/tests/sampler.rs. To bless
// again, after a change of the SDK's version in go.mod or of the cases below:
//
//	cd agent/tests/sampler && go run . > decisions.txt
//
// A line has the sampler, its argument, the parent, the number of traces recorded, and the FNV-1a hash of one byte for
// each trace, 1 for recorded and 0 for not.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"os"

	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

const traces = 10_000

var ratios = []string{"0", "1e-18", "0.0001", "0.1", "0.25", "0.3333333333333333", "0.5", "0.9999999999999999", "1"}

// ids gives the tails of trace ids: those next to a ratio's bound first, then random ones (SplitMix64).
func ids() []uint64 {
	tails := []uint64{0, math.MaxUint64}
	for _, bound := range []uint64{1, 9, 922337203685477, 922337203685477632, 1 << 61, 3074457345618257920, 1 << 62, 1<<63 - 1024} {
		for offset := uint64(0); offset < 5; offset++ {
			tails = append(tails, bound<<1+offset-2)
		}
	}
	state := uint64(1)
	for len(tails) < traces {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		tails = append(tails, z^z>>31)
	}
	return tails
}

// generator gives roots the trace id that is next.
type generator struct{ next api.TraceID }

func (g *generator) NewIDs(context.Context) (api.TraceID, api.SpanID) {
	return g.next, api.SpanID{1}
}

func (g *generator) NewSpanID(context.Context, api.TraceID) api.SpanID {
	return api.SpanID{2}
}

func decide(sampler, argument string) {
	os.Unsetenv("OTEL_TRACES_SAMPLER")
	os.Unsetenv("OTEL_TRACES_SAMPLER_ARG")
	if sampler != "-" {
		os.Setenv("OTEL_TRACES_SAMPLER", sampler)
	}
	if argument != "-" {
		os.Setenv("OTEL_TRACES_SAMPLER_ARG", argument)
	}
	generator := &generator{}
	tracer := trace.NewTracerProvider(trace.WithIDGenerator(generator)).Tracer("")
	for _, parent := range []string{"none", "sampled", "unsampled"} {
		recorded, hash := 0, fnv.New64a()
		for _, tail := range ids() {
			id := api.TraceID{0: 1}
			binary.BigEndian.PutUint64(id[8:], tail)
			generator.next = id
			ctx := context.Background()
			if parent != "none" {
				config := api.SpanContextConfig{TraceID: id, SpanID: api.SpanID{3}, Remote: true}
				if parent == "sampled" {
					config.TraceFlags = api.FlagsSampled
				}
				ctx = api.ContextWithRemoteSpanContext(ctx, api.NewSpanContext(config))
			}
			_, span := tracer.Start(ctx, "")
			decision := byte(0)
			if span.SpanContext().IsSampled() {
				decision = 1
			}
			recorded += int(decision)
			hash.Write([]byte{decision})
		}
		fmt.Printf("%s %s %s %d %016x\n", sampler, argument, parent, recorded, hash.Sum64())
	}
}

func main() {
	decide("-", "-")
	decide("-", "0.5")
	for _, prefix := range []string{"", "parentbased_"} {
		decide(prefix+"always_on", "-")
		decide(prefix+"always_off", "-")
		decide(prefix+"traceidratio", "-")
		for _, ratio := range ratios {
			decide(prefix+"traceidratio", ratio)
		}
	}
	decide("ParentBased_TraceIDRatio", "0.5")
}
