module go.opentelemetry.io/collector/lookalike

go 1.21
