package rpcs

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // for the case compressed
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"lightfoot.example/witness"
)

// scene is everything that cases share.
type scene struct {
	truth *witness.Log
	// plain is the server that most cases call; guarded recovers from panics and limits messages; workers has some.
	plain, guarded, workers, ipv6, unix *remote
	// unixNamed is a client of unix whose own socket has a name, too; balanced calls two servers in turns.
	unixNamed, balanced *remote
	// named is plain by its name, passed by a target that says how, manual by a resolver of the program's own, ownScheme the
	// same by grpc.NewClient, where there is one.
	named, passed, manual, ownScheme *remote
	// inMemory has no network below it.
	inMemory *remote
	// overTLS and overH2c are served by net/http.
	overTLS, overH2c *remote
	// overWorkers as well, and hands calls to workers.
	overWorkers *remote
	// nosy calls others by gRPC in its client interceptor, curious by HTTP, checked in its server's; failing never calls.
	nosy, curious, checked, failing *remote
	// nosyStreams calls others by gRPC before its streams begin; insisting calls twice where the first call fails.
	nosyStreams, insisting *remote
	// retrying asks again where the answer is UNAVAILABLE.
	retrying *remote
	// refused is an address where nobody listens.
	refused string
	// web is the address of an HTTP server whose handlers make calls, upstream that of one that they call.
	web, upstream string
	client        *http.Client

	// started is set by handlers that wait.
	started *signal
	crowd   *barrier
	held    held
	// pool is read by workers that are as old as the program.
	pool chan func()
}

// remote is a client's connection, and what it was dialled with.
type remote struct {
	*grpc.ClientConn
	target string
}

func newScene(truth *witness.Log) *scene {
	s := &scene{truth: truth, started: &signal{make(chan struct{}, 1)}, pool: make(chan func())}
	for i := 0; i < 4; i++ {
		go func() {
			for work := range s.pool {
				work()
			}
		}()
	}
	// No name server is asked, which may be slow; names of this machine come from its files. Clients have copied this pointer.
	net.DefaultResolver.PreferGo = true
	net.DefaultResolver.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("there is no name server")
	}
	s.serveAll()
	s.serveByHTTP()
	s.serveWeb()
	return s
}

// serveAll starts the servers that have grpc-go's own transport.
func (s *scene) serveAll() {
	main := s.register(grpc.NewServer())
	known := health.NewServer()
	known.SetServingStatus("known", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(main, known)
	reflection.Register(main)
	address := serve(main, listen("tcp", "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(address)
	s.plain = dial(address)
	s.named, s.passed = dial("dns:///localhost:"+port), dial("passthrough:///"+address)
	s.ipv6 = dial(serve(main, listen("tcp6", "[::1]:0")))
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	socket := filepath.Join(folder, "socket")
	serve(main, listen("unix", socket))
	s.unix = dial("unix:" + socket)
	own := &net.Dialer{LocalAddr: &net.UnixAddr{Name: filepath.Join(folder, "client"), Net: "unix"}}
	s.unixNamed = dial("unix:"+socket, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return own.DialContext(ctx, "unix", socket)
	}))
	s.guarded = dial(serve(s.register(grpc.NewServer(
		grpc.ChainUnaryInterceptor(recovering), grpc.ChainStreamInterceptor(recoveringStream),
		grpc.MaxRecvMsgSize(1<<16),
	)), listen("tcp", "127.0.0.1:0")))
	s.workers = dial(serve(s.register(grpc.NewServer(grpc.NumStreamWorkers(4))), listen("tcp", "127.0.0.1:0")))

	pipe := bufconn.Listen(1 << 16)
	go main.Serve(pipe)
	s.inMemory = dial("passthrough:///memory", grpc.WithContextDialer(
		func(context.Context, string) (net.Conn, error) { return pipe.Dial() },
	))
	builder := manual.NewBuilderWithScheme("manual")
	builder.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: address}}})
	s.manual = dial("manual:///the-truth", grpc.WithResolvers(builder))
	mesh := manual.NewBuilderWithScheme("mesh")
	mesh.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: address}}})
	s.ownScheme = dialBy(NewClient, "mesh:///the-truth", grpc.WithResolvers(mesh))
	both := manual.NewBuilderWithScheme("both")
	other := serve(s.register(grpc.NewServer()), listen("tcp", "127.0.0.1:0"))
	both.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: address}, {Addr: other}}})
	s.balanced = dial("both:///servers", grpc.WithResolvers(both),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
	s.retrying = dial(address, retries)
	s.refused, _ = witness.Refused()
	s.nosy = dial(address, grpc.WithChainUnaryInterceptor(s.callInside), grpc.WithChainStreamInterceptor(wrapping))
	s.nosyStreams = dial(address, grpc.WithStreamInterceptor(s.callInsideStream))
	s.insisting = dial(address, grpc.WithUnaryInterceptor(insisting))
	s.curious = dial(address, grpc.WithUnaryInterceptor(s.getInside))
	s.failing = dial(address, grpc.WithUnaryInterceptor(unwilling))
	s.checked = dial(serve(s.register(grpc.NewServer(
		grpc.UnaryInterceptor(s.callBefore), grpc.StreamInterceptor(s.callBeforeStream),
	)), listen("tcp", "127.0.0.1:0")))
}

// serveByHTTP starts the servers that are handlers of net/http.
func (s *scene) serveByHTTP() {
	handler := s.register(grpc.NewServer())
	s.overTLS = overTLS(handler)
	s.overWorkers = overTLS(s.register(grpc.NewServer(grpc.NumStreamWorkers(4))))
	plain := httptest.NewUnstartedServer(h2c.NewHandler(handler, &http2.Server{}))
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain.Start()
	s.overH2c = dial(plain.Listener.Addr().String())
}

// overTLS serves by net/http, and dials.
func overTLS(handler http.Handler) *remote {
	secure := httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog, secure.EnableHTTP2 = log.New(io.Discard, "", 0), true
	secure.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	return dial(secure.Listener.Addr().String(), grpc.WithTransportCredentials(
		credentials.NewClientTLSFromCert(roots, "example.com"),
	))
}

// serveWeb starts an HTTP server whose handlers make calls, and one that only answers.
func (s *scene) serveWeb() {
	web := httptest.NewServer(witness.Handler(s.truth, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number, _ := strconv.ParseInt(r.Header.Get("X-Number"), 10, 64)
		if err := s.relate(r.Context(), number, strings.Split(r.URL.Path, "/")[1]); err != nil {
			log.Fatal(err)
		}
	})))
	s.web = web.Listener.Addr().String()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	s.upstream = upstream.URL
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
}

// retries has calls tried four times.
var retries = grpc.WithDefaultServiceConfig(`{"methodConfig": [{
	"name": [{"service": "truth.Unary"}, {"service": "truth.BothStreams"}], "retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.005s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`)

// NewClient is grpc.NewClient where it exists, which it does not in the oldest grpc-go that is built here.
var NewClient = grpc.Dial

func dial(target string, options ...grpc.DialOption) *remote {
	return dialBy(grpc.Dial, target, options...)
}

func dialBy(
	by func(string, ...grpc.DialOption) (*grpc.ClientConn, error), target string, options ...grpc.DialOption,
) *remote {
	// The last one wins.
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)
	connection, err := by(target, options...)
	if err != nil {
		log.Fatal(err)
	}
	return &remote{connection, target}
}

// listen listens.
func listen(network, address string) net.Listener {
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

// serve gives the server's address.
func serve(server *grpc.Server, listener net.Listener) string {
	go server.Serve(listener)
	return listener.Addr().String()
}

// accepted has such a socket listen at last.
func accepted(socket int) net.Listener {
	if err := syscall.Listen(socket, 128); err != nil {
		log.Fatal(err)
	}
	file := os.NewFile(uintptr(socket), "listener")
	defer file.Close() // the listener has a copy
	listener, err := net.FileListener(file)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func recovering(
	ctx context.Context, request interface{}, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (answer interface{}, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = status.Errorf(codes.Internal, "recovered: %v", reason)
		}
	}()
	return handler(ctx, request)
}

func recoveringStream(
	server interface{}, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler,
) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = status.Errorf(codes.Internal, "recovered: %v", reason)
		}
	}()
	return handler(server, stream)
}
